"""What the commands share: errors, progress, photos, styles, tables."""
