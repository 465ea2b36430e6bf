"""Colours without shapes: a coarse grid of them, for a network that keeps where which colour is; nothing to download."""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image

CELL, SIDE = 24, 1024
"""EasyPhoto's colour network was shown cells of 24 pixels, of a picture whose short side is 1024."""


class Color:
    """Draws colours."""

    def draw(self, image: Image) -> Image:
        """See `portrait.ports.Control`."""
        height, width = image.shape[:2]
        cell = CELL * min(height, width) / SIDE
        grid = (max(1, int(width / cell)), max(1, int(height / cell)))
        coarse = cv2.resize(image, grid, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def make(settings: Settings, models: Models, engines: Engines) -> Color:
    """Nothing to load."""
    return Color()


def status(settings: Settings, models: Models) -> list[str]:
    """Nothing is missing."""
    return []
