"""Face parsers: which pixels of a face are skin, brows, eyes, nose, lips."""
