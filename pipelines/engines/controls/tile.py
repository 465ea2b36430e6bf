"""Control image of the picture without its finest detail, for ControlNet Tile, which adds detail of its own; no model."""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image

REDUCTION = 8
"""Factor by which the picture is reduced: the largest that ControlNet Tile was trained with."""


class Tile:
    """Blurs a picture by reducing and enlarging it."""

    def process(self, image: Image) -> Image:
        """The picture at an eighth of its detail, as large as it was; see `portrait.ports.ControlPreprocessor`."""
        height, width = image.shape[:2]
        small = (max(1, width // REDUCTION), max(1, height // REDUCTION))
        coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def make(settings: Settings, models: ModelStore, engines: Engines) -> Tile:
    """The engine; there is nothing to load."""
    return Tile()
