"""Faces: alignment, head pose, skin, likeness."""
