"""Upscalers: enlarge a picture 2 or 4 times."""
