"""The flows of an installation in which one thing is made up: what InsightFace's networks would read in a face."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.ports import FaceFinder
from portrait.types import Face
from tasks.queue.flows import Flows, PortraitFlows


class MadeReader:
    """Sees the faces that the real finder sees, with a vector of its own for each picture.

    Tiny random networks find no faces in photos, and the published ones are not here.
    """

    same_person = 0.65

    def __init__(self, finder: FaceFinder, space: str) -> None:
        self._finder, self.space = finder, space

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        """Faces of an upright image, the largest first."""
        return [self.embed(image, face) for face in self._finder.faces(image, embedded=0)]

    def embed(self, image: Image, face: Face) -> Face:
        """The face with the vector of the whole picture."""
        vector = np.random.default_rng(int(image.sum()) % 2**32).normal(size=512).astype(np.float32)
        return replace(face, embeddings={self.space: vector})


class ReadingEngines(Engines):
    """The engines of the settings, except for readers."""

    def lazy_embedder(self, space: str) -> Callable[[], FaceFinder]:
        """Who sees faces in an adapter's space."""
        return lambda: MadeReader(self.finder(), space)


def open_flows(settings: Settings) -> Flows:
    """As `tasks.queue.flows.open_flows`."""
    return PortraitFlows(settings, ReadingEngines(settings, ModelStore(settings.models)))
