"""Marks of files that leave: how a picture came about, and what proves it."""
