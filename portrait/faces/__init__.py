"""Arithmetic of faces: mesh, geometry, alignment, skin, embedding distances."""
