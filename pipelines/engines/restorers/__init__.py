"""Restorers: improve a poor photo of a face without changing who it is."""
