"""What a diffusion model is asked for: options, parameters, edits, passes."""
