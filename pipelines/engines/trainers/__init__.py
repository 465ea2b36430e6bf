"""Trainers: a training set becomes a person that a diffusion base can draw."""
