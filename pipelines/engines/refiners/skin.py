"""Retouches the skin of every face: calms blotches and shine, keeps pores; arithmetic alone."""

from collections.abc import Sequence

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.faces.skin import retouch_skin
from portrait.types import Face


class Skin:
    """The retouch of `portrait.faces.skin` at full strength; how much of it is taken, the style says."""

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        """The picture with every face's skin calmed; see `portrait.ports.Refiner`."""
        for face in faces:
            image = retouch_skin(image, face, 1.0)
        return image


def make(settings: Settings, models: Models, engines: Engines) -> Skin:
    """Nothing to load."""
    return Skin()


def status(settings: Settings, models: Models) -> list[str]:
    """Nothing is ever missing."""
    return []
