"""Refiner that corrects white balance and exposure by the faces; no model."""

from collections.abc import Callable, Sequence

import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Mask
from portrait.faces.skin import skin_mask
from portrait.images.color import balance_by_skin, expose, white_balance
from portrait.images.masks import face_mask
from portrait.types import Face


class ToneCorrection:
    """Corrects white balance by the skin of all faces together, then exposure by their lightness."""

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        """The corrected picture, or the same one where it has no face; see `portrait.ports.Refiner`."""
        return _correct(image, faces, balance_by_skin) if faces else image

    def refine_as_before(self, image: Image, faces: Sequence[Face]) -> Image:
        """As version 0.1.0 did, which took a coloured wall for coloured light; see `portrait.ports.ChangedRefiner`."""
        return _correct(image, faces, white_balance) if faces else image


def _correct(image: Image, faces: Sequence[Face], balance: Callable[[Image, Mask], Image]) -> Image:
    skin = np.max([skin_mask(image, face) for face in faces], axis=0)
    light = np.max([face_mask(image, face) for face in faces], axis=0)
    return expose(balance(image, skin), light)


def make(settings: Settings, models: ModelStore, engines: Engines) -> ToneCorrection:
    """The engine; there is nothing to load."""
    return ToneCorrection()


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Always empty: the engine needs no model files."""
    return []
