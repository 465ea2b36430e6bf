"""Tiny bases in the published layouts: those with which a device tests itself."""

from pipelines.diffusion.selftest.tiny import (
    BETAS,
    END,
    SIDE,
    START,
    WORDS,
    flux2,
    sd15,
    sdxl,
    text_config,
    tokenizer,
    vae,
    vocabulary,
)

__all__ = [
    "BETAS",
    "END",
    "SIDE",
    "START",
    "WORDS",
    "flux2",
    "sd15",
    "sdxl",
    "text_config",
    "tokenizer",
    "vae",
    "vocabulary",
]
