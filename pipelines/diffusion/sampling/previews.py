"""What a drawing looks like on the way: latents as colours by one small matrix, without the VAE, now and then."""

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.diffusion.base.family import LatentRgbFactors
from portrait.arrays import Image

INTERVAL = 0.5
"""Seconds between two at least: each one waits for the GPU to finish its step."""
PIXELS_PER_LATENT = 4
"""A latent becomes so many pixels: half of what the VAE makes of it."""


class LatentPreview:
    """The newest look at what is being drawn."""

    def __init__(self, colours: LatentRgbFactors, clock: Callable[[], float] = time.monotonic) -> None:
        self._colours, self._clock = colours, clock
        self._next = clock() + INTERVAL
        self.image: Image | None = None
        """None while there was none, and for latents that nobody knows the colours of."""

    def __call__(self, latents: Any) -> None:
        """Look at 1×channels×h×w, unless it was just looked at; what is drawn does not change."""
        now = self._clock()
        if now < self._next or latents.shape[1] != len(self._colours[0]):
            return
        self._next = now + INTERVAL
        self.image = latents_to_rgb(latents[0].detach().float().cpu().numpy(), self._colours)


def latents_to_rgb(latents: NDArray[np.float32], colours: LatentRgbFactors) -> Image:
    """channels×h×w to a picture of 4·h×4·w.

    On the way latents are a picture under noise; some schedulers count that noise in tens. It is brought to the size that
    latents have, so that the picture comes out of it as the noise goes.
    """
    matrix, middle = (np.array(each, np.float32) for each in colours)
    known = np.nan_to_num(latents)
    usual = known / max(1.0, float(known.std()))
    mixed = np.einsum("chw,cr->hwr", usual, matrix) + middle
    small = np.asarray((mixed.clip(0, 1) * 255).round(), np.uint8)
    size = (small.shape[1] * PIXELS_PER_LATENT, small.shape[0] * PIXELS_PER_LATENT)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.uint8)
