"""Enlarges a picture."""
