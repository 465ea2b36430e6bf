"""Pages without scripts, for whoever is not signed in."""
