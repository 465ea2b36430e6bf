"""Parsers: find the regions of a face."""
