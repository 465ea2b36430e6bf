"""Separates a person from the background."""
