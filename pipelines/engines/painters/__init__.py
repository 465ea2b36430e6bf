"""Painters: draw a person in a style."""
