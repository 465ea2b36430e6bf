"""Makes a drawn portrait better as a whole."""
