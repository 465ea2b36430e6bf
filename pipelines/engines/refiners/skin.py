"""Refiner that retouches the skin of every face: it reduces blotches and shine and keeps pores; no model."""

from collections.abc import Sequence

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.faces.skin import retouch_skin
from portrait.types import Face


class SkinRetouch:
    """Applies `portrait.faces.skin.retouch_skin` at full strength; the caller blends it by the style's strength."""

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        """The picture with the skin of all faces retouched; see `portrait.ports.Refiner`."""
        for face in faces:
            image = retouch_skin(image, face, 1.0)
        return image


def make(settings: Settings, models: ModelStore, engines: Engines) -> SkinRetouch:
    """The engine; there is nothing to load."""
    return SkinRetouch()


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Always empty: the engine needs no model files."""
    return []
