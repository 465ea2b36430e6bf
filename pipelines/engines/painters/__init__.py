"""Draws a person in a style."""
