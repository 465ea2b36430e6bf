"""Putting a person's face into another picture: warp, occlusions, blending, inpainting windows."""
