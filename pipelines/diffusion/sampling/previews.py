"""Previews while an image is sampled: latents to colours by one small matrix, without the VAE, at intervals."""

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.diffusion.base.family import LatentRgbFactors
from portrait.arrays import Image

INTERVAL = 0.5
"""Least seconds between two previews: each one waits for the GPU to finish its step."""
PIXELS_PER_LATENT = 4
"""Pixels of a preview per latent: half of what the VAE decodes it to."""


class LatentPreview:
    """The newest preview of an image being sampled."""

    def __init__(self, factors: LatentRgbFactors, clock: Callable[[], float] = time.monotonic) -> None:
        self._factors, self._clock = factors, clock
        self._next = clock() + INTERVAL
        self.image: Image | None = None
        """None before the first, and for latents without known colour factors."""

    def __call__(self, latents: Any) -> None:
        """Make a preview of 1×channels×h×w latents, unless the last is too recent; the latents do not change."""
        now = self._clock()
        if now < self._next or latents.shape[1] != len(self._factors[0]):
            return
        self._next = now + INTERVAL
        self.image = latents_to_rgb(latents[0].detach().float().cpu().numpy(), self._factors)


def latents_to_rgb(latents: NDArray[np.float32], factors: LatentRgbFactors) -> Image:
    """channels×h×w latents to a picture of 4·h×4·w.

    While sampling, latents carry noise, with some schedulers tens of times as large as they are. They are scaled down to the
    deviation of clean latents, so that the picture emerges as the noise goes.
    """
    matrix, middle = (np.array(each, np.float32) for each in factors)
    finite = np.nan_to_num(latents)
    scaled = finite / max(1.0, float(finite.std()))
    rgb = np.einsum("chw,cr->hwr", scaled, matrix) + middle
    small = np.asarray((rgb.clip(0, 1) * 255).round(), np.uint8)
    size = (small.shape[1] * PIXELS_PER_LATENT, small.shape[0] * PIXELS_PER_LATENT)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.uint8)
