"""Families of base models: the file names the family, and holds all that sets it apart."""
