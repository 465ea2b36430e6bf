"""Takes a colour cast off and gives faces their light; arithmetic alone."""

from collections.abc import Sequence

import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.faces.skin import skin_mask
from portrait.images.color import expose, white_balance
from portrait.images.masks import face_area
from portrait.types import Face


class Tone:
    """White balance by the skin of all faces together, then exposure by their light; without a face nothing changes."""

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        """The picture in white light, its faces neither dark nor blown out; see `portrait.ports.Refiner`."""
        if not faces:
            return image
        skin = np.max([skin_mask(image, face) for face in faces], axis=0)
        light = np.max([face_area(image, face) for face in faces], axis=0)
        return expose(white_balance(image, skin), light)


def make(settings: Settings, models: Models, engines: Engines) -> Tone:
    """Nothing to load."""
    return Tone()


def status(settings: Settings, models: Models) -> list[str]:
    """Nothing is ever missing."""
    return []
