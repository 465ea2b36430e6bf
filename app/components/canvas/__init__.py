"""Components in which pictures are looked at, painted on and given another shape."""
