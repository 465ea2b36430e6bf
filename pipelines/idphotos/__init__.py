"""ID photos: the rules of authorities, the picture, the print sheet."""
