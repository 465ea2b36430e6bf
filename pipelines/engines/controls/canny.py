"""Outlines by Canny, white on black; nothing to download."""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image

LOW, HIGH = 100, 200
"""Thresholds that the published networks were taught with."""


class Canny:
    """Draws outlines."""

    def draw(self, image: Image) -> Image:
        """See `portrait.ports.Control`."""
        edges = cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), LOW, HIGH)
        return np.repeat(np.asarray(edges, np.uint8)[..., None], 3, axis=2)


def make(settings: Settings, models: Models, engines: Engines) -> Canny:
    """Nothing to load."""
    return Canny()


def status(settings: Settings, models: Models) -> list[str]:
    """Nothing is missing."""
    return []
