"""Finds faces: boxes, landmarks, mesh, pose, embeddings."""
