"""Face finder of MediaPipe's BlazeFace, FaceMesh and Iris with dlib's embedding: the default; Apache-2.0 and CC0 models.

The detector reads 192×192 pixels and misses the faces of a group in a large photo, so where faces are small it also runs on
four tiles. FaceMesh runs on a levelled crop around each face, as in its training, and gives small faces their landmarks too.
The Iris network then places lids and irises, which FaceMesh alone gets wrong when eyes are shut.
"""

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, TypeAlias, TypeVar

import cv2
import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.engines.runtimes.chips import MEAN, STD, face_chip
from pipelines.engines.runtimes.litert import LiteRtNetwork
from pipelines.engines.runtimes.onnx import ChipNetwork, to_nchw
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Points, Size, Vector
from portrait.faces.geometry import (
    RotatedRect,
    bounding_box,
    crop,
    five_landmarks,
    invert,
    pose_from_mesh,
    transform_points,
)
from portrait.faces.mesh import EYE_ROWS
from portrait.types import Box, Face

MESH_SIZE = Size(192, 192)
"""Input of the mesh network, pixels."""
EYE_SIZE = Size(64, 64)
"""Input of the eye network, pixels."""
EYE_CROP_SCALE = 2.3
"""Side of the eye network's crop over the width of the eye: MediaPipe's own graph enlarges by the same."""
MESH_CROP_SCALE = 1.5
"""Side of the mesh's crop over the side of the face: MediaPipe's own graph enlarges by the same."""
MAX_ROLL = 45.0
"""Degrees of roll up to which the points of a face at the border are trusted: things that lie there look like faces on their
side."""
EYES_TO_MOUTH = 2.55
"""Height of a face over the distance from its eyes to its mouth, as the mesh measures both."""
MIN_PRESENCE = 0.5
"""Least face presence the mesh must report: MediaPipe's default."""
MIN_DETECTION_CONFIDENCE = 0.5
"""Least score of a detection: MediaPipe's default."""
TILE_SHARE = 0.6
"""Side of a tile over the side of the photo: all six faces of a group photo were found at 0.5 and 0.6, four without
tiles."""
SMALL_FACE = 0.35
"""Tiles are searched when no face is this wide, as a share of the photo's short side: at 0.15 a tenth of the second faces
with a quarter to half of the largest one's area were missed."""
LARGE_BYTES = 10_000_000
"""Of a picture that a detector is not left to hold: MediaPipe's keep a copy of the last one that they saw."""

Detector: TypeAlias = Any
"""mediapipe's FaceDetector; its package exports a variable, which cannot stand in an annotation."""


@dataclass(frozen=True, slots=True)
class _Detection:
    """A detected face: its box in pixels, the roll of its eye line in degrees, its score 0..1."""

    box: Box
    roll: float
    confidence: float


class BlazeFace:
    """Finds faces with BlazeFace and FaceMesh; embeds them with dlib's ResNet."""

    space = "dlib"
    same_person = 0.6
    """dlib's published threshold; one person measured 0.26–0.48 on real photos, different people 0.63–1.04."""

    def __init__(
        self, detectors: tuple[Detector, Detector], mesh: LiteRtNetwork, iris: LiteRtNetwork, embedder: ChipNetwork
    ) -> None:
        self._short_range, self._full_range = detectors
        self._mesh = mesh
        self._iris = iris
        self._embedder = embedder

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        """Faces of an upright image, the largest first; see `portrait.ports.FaceFinder`."""
        meshed = [self._mesh_face(image, detection) for detection in self._detect(image)]
        faces = _suppress_duplicates([face for face in meshed if face is not None])
        faces.sort(key=lambda face: -face.box.area)
        return [self.embed(image, face) for face in faces[:embedded]] + faces[embedded:]

    def embed(self, image: Image, face: Face) -> Face:
        """The face with its embedding; see `portrait.ports.FaceFinder`."""
        return replace(face, embeddings={self.space: self._embedding(image, face)})

    def detect_heads(self, image: Image) -> list[Box]:
        """Boxes of the detections, with a mesh or without; see `portrait.ports.HeadDetector`."""
        return [each.box for each in self._detect(image)]

    def close(self) -> None:
        """Close the detectors; at the interpreter's end MediaPipe's own clean-up comes too late and prints errors."""
        self._short_range.close()
        self._full_range.close()

    def _detect(self, image: Image) -> list[_Detection]:
        """Detections in the photo, one per face; where all faces are small the tiles are searched too."""
        detections = _run_detector(self._short_range, image, (0, 0)) + _run_detector(self._full_range, image, (0, 0))
        largest = max((detection.box.width for detection in detections), default=0.0)
        if largest < SMALL_FACE * min(image.shape[:2]):
            for left, top, tile in _cut_tiles(image):
                detections += _run_detector(self._full_range, tile, (left, top))
        return _suppress_duplicates(detections)

    def _mesh_face(self, image: Image, detection: _Detection) -> Face | None:
        """The face of a detection with its mesh, or None where FaceMesh reports no face."""
        mesh, presence = self._run_mesh(image, detection.box, detection.roll)
        if presence >= MIN_PRESENCE:
            # A second run, centred and levelled by the first one's mesh, moves landmarks by 1 to 2 % of the face.
            mesh, presence = self._run_mesh(image, bounding_box(mesh), pose_from_mesh(mesh).roll)
        if presence < MIN_PRESENCE:
            return None
        mesh = self._refine_eyes(image, mesh)
        return Face(bounding_box(mesh), five_landmarks(mesh), mesh, {}, pose_from_mesh(mesh), detection.confidence)

    def _run_mesh(self, image: Image, box: Box, roll: float) -> tuple[Points, float]:
        """468×3 mesh in pixels of `image`, and the presence of a face 0..1."""
        side = max(box.width, box.height) * MESH_CROP_SCALE
        frame = RotatedRect(box.centre, side, side, roll)
        points, flag = _run(self._mesh, crop(image, frame, MESH_SIZE, border=cv2.BORDER_CONSTANT))
        back = invert(frame.matrix_to(MESH_SIZE))
        return transform_points(points.reshape(-1, 3), back), float(1 / (1 + np.exp(-flag[0])))

    def _refine_eyes(self, image: Image, mesh: Points) -> Points:
        """478×3: the mesh with its lids placed by the Iris network, then five points of each iris."""
        roll = pose_from_mesh(mesh).roll
        out = np.vstack([mesh, np.zeros((10, 3), np.float32)])
        for at, contour in enumerate(EYE_ROWS):
            corners = mesh[[contour[0], contour[8]]]
            side = float(np.hypot(*(corners[1] - corners[0])[:2])) * EYE_CROP_SCALE
            x, y = corners.mean(axis=0)[:2]
            frame = RotatedRect((float(x), float(y)), side, side, roll)
            cut = crop(image, frame, EYE_SIZE)
            # The network was trained on the eye on the left of a picture; the other one is mirrored for it.
            lids, iris = _run(self._iris, cut if at == 0 else np.ascontiguousarray(cut[:, ::-1]))
            points = np.vstack([lids.reshape(-1, 3)[: len(contour)], iris.reshape(-1, 3)])
            if at == 1:
                points[:, 0] = EYE_SIZE.width - points[:, 0]
            points = transform_points(points, invert(frame.matrix_to(EYE_SIZE)))
            out[list(contour), :2] = points[: len(contour), :2]
            irises = slice(len(mesh) + 5 * at, len(mesh) + 5 * at + 5)
            out[irises, :2] = points[len(contour) :, :2]
            out[irises, 2] = corners[:, 2].mean()
        return out

    def _embedding(self, image: Image, face: Face) -> Vector:
        """dlib's 128 numbers, not normalised (norm about 1.4); raises `EngineError` (`no_mesh`)."""
        return self._embedder(to_nchw(face_chip(image, face, 150, 0.25), MEAN, STD))[0]


def _run_detector(detector: Detector, image: Image, at: tuple[int, int]) -> list[_Detection]:
    """Detections in a part of a photo whose left and top edges are `at`, in the pixels of the whole photo."""
    height, width = image.shape[:2]
    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
    detections = []
    seen = detector.detect(picture).detections
    if image.nbytes > LARGE_BYTES:
        detector.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.zeros((8, 8, 3), np.uint8)))
    for detection in seen:
        found = detection.bounding_box
        box = Box(found.origin_x, found.origin_y, found.origin_x + found.width, found.origin_y + found.height)
        # The eyes, the left one of the picture first, the tip of the nose and the mouth.
        points = np.array([(each.x * width, each.y * height) for each in detection.keypoints[:4]])
        roll = float(np.degrees(np.arctan2(*(points[1] - points[0])[::-1])))
        at_border = min(box.left, box.top) <= 1 or box.right >= width - 1 or box.bottom >= height - 1
        if at_border and abs(roll) < MAX_ROLL:
            box = _box_around(points)
        left, top, right, bottom = (float(edge) + at[side % 2] for side, edge in enumerate(astuple(box)))
        detections.append(_Detection(Box(left, top, right, bottom), roll, float(detection.categories[0].score)))
    return detections


def _box_around(points: NDArray[np.float64]) -> Box:
    """The whole box of a face by its eyes and mouth: the detector's ends at the border, and the mesh is misled by it.

    With the detector's box FaceMesh took the nose for the eyes where the forehead was cut to 25 % of the face's height; with
    this one it places the eyes within 4 % of the face up to a cut of 30 %.
    """
    eyes, mouth = points[:2].mean(axis=0), points[3]
    x, y = (eyes + mouth) / 2
    half = EYES_TO_MOUTH * float(np.hypot(*(mouth - eyes))) / 2
    return Box(x - half, y - half, x + half, y + half)


def _cut_tiles(image: Image) -> list[tuple[int, int, Image]]:
    """Four overlapping tiles, each with its left and top edge."""
    height, width = image.shape[:2]
    tall, wide = max(1, round(height * TILE_SHARE)), max(1, round(width * TILE_SHARE))
    corners = [(left, top) for top in (0, height - tall) for left in (0, width - wide)]
    return [(left, top, image[top : top + tall, left : left + wide]) for left, top in corners]


_WithBox = TypeVar("_WithBox", _Detection, Face)


def _suppress_duplicates(candidates: Sequence[_WithBox]) -> list[_WithBox]:
    """Non-maximum suppression: of boxes whose centres lie within half a face of each other, the most confident one."""
    chosen: list[_WithBox] = []
    for candidate in sorted(candidates, key=lambda each: -each.confidence):
        if all(_far_apart(candidate.box, other.box) for other in chosen):
            chosen.append(candidate)
    return chosen


def _far_apart(one: Box, other: Box) -> bool:
    distance = max(abs(one.centre[0] - other.centre[0]), abs(one.centre[1] - other.centre[1]))
    return distance > 0.5 * max(one.width, other.width)


def make(settings: Settings, models: ModelStore, engines: Engines) -> BlazeFace:
    """Load the five networks; about 0.4 s."""
    # LiteRT and MediaPipe log their delegates on every start; only warnings are worth a line.
    logging.getLogger("absl").setLevel(logging.WARNING)
    # What may fail comes first: a detector that was made and never closed keeps the process from ending.
    near, far = (
        models.file("blazeface", f"face_detection_{name}.tflite") for name in ("short_range", "full_range_sparse")
    )
    mesh, iris = models.file("facemesh", "face_landmark.tflite"), models.file("iris", "iris_landmark.tflite")
    embedder = ChipNetwork(models.file("dlib", "dlib_face_recognition_resnet_model_v1.dat"), "dlib")
    return BlazeFace(
        (_open_detector(near.read_bytes()), _open_detector(far.read_bytes())),
        LiteRtNetwork(mesh),
        LiteRtNetwork(iris),
        embedder,
    )


def _run(network: LiteRtNetwork, image: Image) -> list[NDArray[np.float32]]:
    """Run a network on one picture, brought to 0..1; gives its outputs, flattened, the largest first."""
    return sorted((output.ravel() for output in network(image / 255)), key=len, reverse=True)


def _open_detector(model: bytes) -> Detector:
    options = vision.FaceDetectorOptions(
        base_options=BaseOptions(model_asset_buffer=model), min_detection_confidence=MIN_DETECTION_CONFIDENCE
    )
    return vision.FaceDetector.create_from_options(options)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files, one sentence each; empty when the engine is ready."""
    return [each for name in ("blazeface", "facemesh", "iris", "dlib") for each in models.missing(name)]
