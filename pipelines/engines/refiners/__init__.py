"""Refiners: improve a finished portrait as a whole."""
