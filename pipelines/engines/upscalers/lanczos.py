"""Lanczos: enlarges by interpolation alone; nothing is loaded, nothing is invented."""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image


class Lanczos:
    """Enlarges with a Lanczos window of eight pixels."""

    factors = (2, 4)

    def upscale(self, image: Image, factor: int) -> Image:
        """The picture, `factor` times as wide and high; see `portrait.ports.Upscaler`."""
        size = (image.shape[1] * factor, image.shape[0] * factor)
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)


def make(settings: Settings, models: Models, engines: Engines) -> Lanczos:
    """Nothing to load."""
    return Lanczos()


def status(settings: Settings, models: Models) -> list[str]:
    """Nothing is ever missing."""
    return []
