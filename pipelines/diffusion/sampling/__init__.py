"""Sampling from a base model: prompts, schedulers, ControlNets, img2img, identity adapters."""
