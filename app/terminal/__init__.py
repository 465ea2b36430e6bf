"""Shared by the commands: errors, progress, photos, styles, tables."""
