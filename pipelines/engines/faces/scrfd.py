"""Face finder of InsightFace's SCRFD and ArcFace, whose embeddings identity adapters read; non-commercial.

Only detection and recognition are loaded, directly from their two files: InsightFace's `FaceAnalysis` downloads whole packs
to the home folder and runs every model of them on every face.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from insightface.model_zoo import SCRFD, ArcFaceONNX, get_model

from pipelines.engines import Engines
from pipelines.engines.runtimes.arcface import align_for_arcface
from pipelines.engines.runtimes.onnx import ONNX_ERRORS, execution_providers, unused_gpu
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Points, Vector
from portrait.errors import OperatorError, broken_model
from portrait.faces.geometry import pose_from_landmarks
from portrait.types import Box, Face

DEFAULT_PACK = "buffalo_l"
"""The pack that InsightFace itself, PhotoMaker V2 and IP-Adapter-FaceID read; InstantID reads `antelopev2`."""
DET_THRESH = 0.5
"""Least score of a detection: InsightFace's `det_thresh` by default."""
DET_SIZE = 640
"""Side of the square that a photo is fitted into, pixels: the `det_size` of the published pipelines."""
CLOSE_UP_DET_SIZE = 128
"""Side of that square in the second pass: the other of InsightFace's two default sizes; it costs 1/25 of the first."""
CLOSE_UP_SHARE = 0.5
"""Least side of a face that the second pass may add, over the longer side of the photo: its landmarks are coarse."""
NMS_THRESH = 0.4
"""Intersection over union from which two boxes are one face: InsightFace's own threshold between detections."""


@dataclass(frozen=True, slots=True)
class Pack:
    """The two files of a pack that are used."""

    detector: str
    recognizer: str


PACKS = {
    "buffalo_l": Pack("det_10g.onnx", "w600k_r50.onnx"),
    "antelopev2": Pack("scrfd_10g_bnkps.onnx", "glintr100.onnx"),
}
"""By embedding space, which has the name of its pack."""


class Scrfd:
    """Finds faces with SCRFD and embeds them with ArcFace; on the GPU where onnxruntime has one."""

    same_person = 0.65
    """Cosine distance (1 − cosine similarity): the norms of raw ArcFace vectors vary with the quality of the photo.

    InsightFace's demo of buffalo_l (web-demos/src_recognition) says "the same" from a similarity of 0.28 up, its tools
    that match people ask for 0.35 to 0.45. Not measured here yet: that takes the published weights.
    """

    def __init__(self, models: ModelStore, space: str = DEFAULT_PACK) -> None:
        if space not in PACKS:
            raise OperatorError(
                "unknown_space", f"There is no InsightFace pack {space!r}. Choose one of: {', '.join(PACKS)}."
            )
        self.space = space
        pack = PACKS[space]
        # Both files are looked up before either is read: a missing one is reported at once, not after a load.
        detector, recognizer = models.file(space, pack.detector), models.file(space, pack.recognizer)
        self._detector = open_network(detector, space, SCRFD)
        self._recognizer = open_network(recognizer, space, ArcFaceONNX)
        if not self._detector.use_kps:
            raise broken_model(detector, "it gives no landmarks", space)

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        """Faces of an upright image, the largest first; see `portrait.ports.FaceFinder`."""
        bgr = np.ascontiguousarray(image[..., ::-1])
        faces = sorted(self._detect(bgr), key=lambda face: -face.box.area)
        return [self._embed(bgr, face) for face in faces[:embedded]] + faces[embedded:]

    def embed(self, image: Image, face: Face) -> Face:
        """The face with its embedding, or as it is when its landmarks lie in one point."""
        return self._embed(np.ascontiguousarray(image[..., ::-1]), face)

    def _detect(self, bgr: Image) -> list[Face]:
        """Faces of both passes, in no order.

        At 640 pixels a face that fills the photo is larger than SCRFD's largest anchor (512) and can be lost, so a
        second, coarse pass adds large faces that the first did not find.
        """
        faces = self._detect_at(bgr, DET_SIZE)
        least = CLOSE_UP_SHARE * max(bgr.shape[:2])
        for face in self._detect_at(bgr, CLOSE_UP_DET_SIZE):
            large = max(face.box.width, face.box.height) >= least
            if large and all(_iou(face.box, other.box) < NMS_THRESH for other in faces):
                faces.append(face)
        return faces

    def _detect_at(self, bgr: Image, side: int) -> list[Face]:
        """Faces of a BGR image that is fitted into a square of `side` pixels."""
        height, width = bgr.shape[:2]
        if side * min(height, width) < max(height, width):
            return []  # A strip thinner than one pixel of that square.
        boxes, landmarks = self._detector.detect(bgr, input_size=(side, side), det_thresh=DET_THRESH)
        if landmarks is None:
            return []
        return [_to_face(box, points) for box, points in zip(boxes, landmarks, strict=True)]

    def _embed(self, bgr: Image, face: Face) -> Face:
        chip = align_for_arcface(bgr, face.landmarks)
        if chip is None:
            return face
        vector: Vector = np.asarray(self._recognizer.get_feat(chip), np.float32).flatten()
        return replace(face, embeddings={self.space: vector})


def _to_face(row: np.ndarray, landmarks: np.ndarray) -> Face:
    """A face from a row of the detector (left, top, right, bottom, score) and its 5×2 landmarks."""
    left, top, right, bottom, score = (float(number) for number in row)
    points: Points = np.array(landmarks, np.float32)
    return Face(Box(left, top, right, bottom), points, None, {}, pose_from_landmarks(points), score)


def _iou(one: Box, other: Box) -> float:
    """Intersection over union, 0..1."""
    width = max(0.0, min(one.right, other.right) - max(one.left, other.left))
    height = max(0.0, min(one.bottom, other.bottom) - max(one.top, other.top))
    return width * height / (one.area + other.area - width * height)


_OPEN_LOCK = threading.Lock()


def open_network(path: Path, pack: str, kind: type) -> Any:
    """The network of a file, loaded once per process; its session may run on several threads at a time.

    `kind` is InsightFace's class of it. Raises `EngineError` (`broken_model`).
    """
    with _OPEN_LOCK:
        return _open_cached(path, pack, kind, tuple(execution_providers()))


@cache
def _open_cached(path: Path, pack: str, kind: type, provider_names: Sequence[str]) -> Any:
    options = onnxruntime.SessionOptions()
    # The published files declare their output sizes for 640 pixels, and onnxruntime warns at every other size.
    options.log_severity_level = 3
    try:
        # Given a path, `get_model` never downloads. Without `static_shape_sessions` it keeps to one session; else it
        # opens another one for every input size.
        network = get_model(
            str(path), providers=list(provider_names), sess_options=options, static_shape_sessions=False
        )
    except (*ONNX_ERRORS, AssertionError, AttributeError, IndexError) as error:  # InsightFace asserts on file contents.
        raise broken_model(path, str(error) or type(error).__name__, pack) from error
    if not isinstance(network, kind):
        raise broken_model(path, f"it is no {kind.__name__} network", pack)
    return network


def make(settings: Settings, models: ModelStore, engines: Engines) -> Scrfd:
    """Load the two networks of the default pack."""
    return Scrfd(models)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files and a GPU that onnxruntime cannot use, one sentence each; empty when the engine is ready."""
    return [*models.missing(DEFAULT_PACK), *unused_gpu()]
