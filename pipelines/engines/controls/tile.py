"""The picture itself, without its finest detail: what is where, for a network that invents the detail; nothing to download."""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image

REDUCED = 8
"""The network was taught with pictures reduced up to so many times."""


class Tile:
    """Draws what is where."""

    def draw(self, image: Image) -> Image:
        """See `portrait.ports.Control`."""
        height, width = image.shape[:2]
        small = (max(1, width // REDUCED), max(1, height // REDUCED))
        coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def make(settings: Settings, models: Models, engines: Engines) -> Tile:
    """Nothing to load."""
    return Tile()


def status(settings: Settings, models: Models) -> list[str]:
    """Nothing is missing."""
    return []
