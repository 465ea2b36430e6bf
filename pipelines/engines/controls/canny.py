"""Control image of outlines by Canny's detector, white on black; no model."""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image

LOW, HIGH = 100, 200
"""Thresholds that the published ControlNets were trained with."""


class Canny:
    """Computes outlines."""

    def process(self, image: Image) -> Image:
        """Outlines 255 on 0, as large as the picture; see `portrait.ports.ControlPreprocessor`."""
        edges = cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), LOW, HIGH)
        return np.repeat(np.asarray(edges, np.uint8)[..., None], 3, axis=2)


def make(settings: Settings, models: ModelStore, engines: Engines) -> Canny:
    """The engine; there is nothing to load."""
    return Canny()
