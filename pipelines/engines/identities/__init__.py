"""How a diffusion model is told who: learned weights, a landmark network, image tokens, merged words."""
