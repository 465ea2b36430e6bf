"""What a diffusion model shall follow of a photo: outlines, content, colours."""
