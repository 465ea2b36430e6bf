"""ID photos: presets of authorities, the picture, the print sheet."""
