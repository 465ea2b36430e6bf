"""Control image of colours without shapes: a coarse grid, for a ControlNet that keeps which colour is where; no model."""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image

CELL, SIDE = 24, 1024
"""Side of a cell and short side of the picture, pixels, with which EasyPhoto's colour ControlNet was trained."""


class ColorGrid:
    """Computes the mean colour of each cell."""

    def process(self, image: Image) -> Image:
        """Cells of one colour each, as large as the picture; see `portrait.ports.ControlPreprocessor`."""
        height, width = image.shape[:2]
        cell = CELL * min(height, width) / SIDE
        grid = (max(1, int(width / cell)), max(1, int(height / cell)))
        coarse = cv2.resize(image, grid, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def make(settings: Settings, models: ModelStore, engines: Engines) -> ColorGrid:
    """The engine; there is nothing to load."""
    return ColorGrid()
