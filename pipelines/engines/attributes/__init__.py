"""Attributes: age and sex of a face, as an estimate."""
