"""Refiner that corrects white balance and exposure by the faces; no model."""

from collections.abc import Sequence

import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.faces.skin import skin_mask
from portrait.images.color import expose, white_balance
from portrait.images.masks import face_mask
from portrait.types import Face


class ToneCorrection:
    """Corrects white balance by the skin of all faces together, then exposure by their lightness."""

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        """The corrected picture, or the same one where it has no face; see `portrait.ports.Refiner`."""
        if not faces:
            return image
        skin = np.max([skin_mask(image, face) for face in faces], axis=0)
        light = np.max([face_mask(image, face) for face in faces], axis=0)
        return expose(white_balance(image, skin), light)


def make(settings: Settings, models: ModelStore, engines: Engines) -> ToneCorrection:
    """The engine; there is nothing to load."""
    return ToneCorrection()


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Always empty: the engine needs no model files."""
    return []
