"""Face finder of MediaPipe's BlazeFace with fal's AuraFace, an ArcFace that may be used commercially; Apache-2.0.

Its publisher hands out InsightFace's detector and landmark networks beside it, which are for non-commercial research: faces
are found by the default finder, and the recognizer alone is taken.
"""

from dataclasses import replace

import numpy as np
from insightface.model_zoo import ArcFaceONNX

from pipelines.engines import Engines
from pipelines.engines.faces import blazeface
from pipelines.engines.faces.blazeface import BlazeFace
from pipelines.engines.faces.scrfd import open_network
from pipelines.engines.runtimes.arcface import align_for_arcface
from pipelines.engines.runtimes.onnx import unused_gpu
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Vector
from portrait.types import Box, Face

MODEL, FILE = "auraface", "glintr100.onnx"


class AuraFace:
    """Finds faces with BlazeFace and FaceMesh; embeds them with AuraFace, 512 numbers that are not normalised."""

    space = MODEL
    same_person = 0.65
    """Cosine distance, as for the packs of InsightFace, whose architecture it has. Its publisher names none, and it
    was not measured here: that takes the published weights."""

    def __init__(self, finder: BlazeFace, recognizer: ArcFaceONNX) -> None:
        self._finder, self._recognizer = finder, recognizer

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        """Faces of an upright image, the largest first; see `portrait.ports.FaceFinder`."""
        faces = self._finder.faces(image, embedded=0)
        return [self.embed(image, face) for face in faces[:embedded]] + faces[embedded:]

    def embed(self, image: Image, face: Face) -> Face:
        """The face with its embedding, or as it is when its landmarks lie in one point."""
        chip = align_for_arcface(np.ascontiguousarray(image[..., ::-1]), face.landmarks)
        if chip is None:
            return face
        vector: Vector = np.asarray(self._recognizer.get_feat(chip), np.float32).flatten()
        return replace(face, embeddings={self.space: vector})

    def detect_heads(self, image: Image) -> list[Box]:
        """Boxes of the detections; see `portrait.ports.HeadDetector`."""
        return self._finder.detect_heads(image)

    def close(self) -> None:
        """Close the detectors, as `BlazeFace.close`."""
        self._finder.close()


def make(settings: Settings, models: ModelStore, engines: Engines) -> AuraFace:
    """Load the recognizer and the default finder's networks; raises `EngineError` (`broken_model`)."""
    recognizer = open_network(models.file(MODEL, FILE), MODEL, ArcFaceONNX)
    return AuraFace(blazeface.make(settings, models, engines), recognizer)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files and a GPU that onnxruntime cannot use, one sentence each; empty when the engine is ready."""
    return [*models.missing(MODEL), *blazeface.status(settings, models), *unused_gpu()]
