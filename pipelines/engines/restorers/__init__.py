"""Makes a poor photo of a face better without changing who it is."""
