"""Photos as they come in: how they are judged, and which are chosen to learn from."""
