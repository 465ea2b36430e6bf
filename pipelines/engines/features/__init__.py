"""Sees pictures and words as numbers, for measuring sets of pictures."""
