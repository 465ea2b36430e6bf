"""Diffusion bases: their families, loading, LoRA, and the parts that trainers and painters share."""
