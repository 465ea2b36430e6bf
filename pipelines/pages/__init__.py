"""HTML pages about a training set, an identity, portraits, measurements: one file each, nothing fetched."""
