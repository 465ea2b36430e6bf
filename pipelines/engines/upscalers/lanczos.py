"""Upscaler by Lanczos interpolation alone; no model."""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image


class Lanczos:
    """Enlarges with a Lanczos window of eight pixels."""

    def upscale(self, image: Image, factor: int) -> Image:
        """The picture, `factor` times as wide and high; see `portrait.ports.Upscaler`."""
        size = (image.shape[1] * factor, image.shape[0] * factor)
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)


def make(settings: Settings, models: ModelStore, engines: Engines) -> Lanczos:
    """The engine; there is nothing to load."""
    return Lanczos()


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Always empty: the engine needs no model files."""
    return []
