"""Where the files of an installation are stored: in its data folder, or in a bucket of which the data folder is a cache."""
