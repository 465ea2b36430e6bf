"""Refiners: improve a finished portrait."""
