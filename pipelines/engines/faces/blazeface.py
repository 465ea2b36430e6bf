"""BlazeFace, FaceMesh and Iris with dlib's embedding: the embedded default, for any machine; Apache-2.0 and CC0 models.

The detector reads 192×192 pixels, so faces of a group are lost in a whole photo: where faces are small it also looks at
four tiles. The mesh runs on a levelled crop around each face, which is how its network was trained, and gives small faces
their landmarks too. A third network then sets the lids and irises, which the mesh alone gets wrong when eyes are shut.
"""

# dlib is one compiled module without stubs: its names are not known to the type checker.
# pyright: reportAttributeAccessIssue=false

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import cv2
import dlib
import mediapipe
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from mediapipe.tasks.python import BaseOptions, vision
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image, Points, Size, Vector
from portrait.errors import EngineError
from portrait.faces.geometry import (
    EYE_LEFT,
    EYE_LEFT_INNER,
    EYE_RIGHT,
    EYE_RIGHT_INNER,
    NOSE_BASE,
    Frame,
    around,
    crop,
    five_of,
    inverse,
    move,
    pose_from_mesh,
)
from portrait.types import Box, Face

MESH_SIZE = Size(192, 192)
"""Input of the mesh network, pixels."""
EYE_SIZE = Size(64, 64)
"""Input of the eye network, pixels."""
EYE_ROOM = 2.3
"""Side of the eye network's crop over the width of the eye: MediaPipe's own graph enlarges by the same."""
CONTOURS = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
)
"""Mesh points of each eye's outline in the eye network's order: the lower lid from corner to corner, then the upper lid."""
MESH_ROOM = 1.5
"""Side of the mesh's crop over the side of the face: MediaPipe's own graph enlarges by the same."""
PRESENCE = 0.5
"""Least face presence the mesh must report: MediaPipe's default."""
DETECTION = 0.5
"""Least score of a detection: MediaPipe's default."""
TILE = 0.6
"""Side of a tile over the side of the photo: all six faces of a group photo were found at 0.5 and 0.6, four without tiles."""
FIVE = (EYE_RIGHT, EYE_RIGHT_INNER, EYE_LEFT, EYE_LEFT_INNER, NOSE_BASE)
"""Mesh points that dlib aligns by, in its order."""
SMALL = 0.35
"""Tiles are searched when no face is this wide, as a share of the photo's short side: at 0.15 a tenth of second faces with a
quarter to half of the largest one's area were overlooked."""

Detector: TypeAlias = Any
"""mediapipe's FaceDetector, which its package hands on as a variable."""
Embedder: TypeAlias = Any
"""dlib.face_recognition_model_v1."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A detection: its box, the roll of its eye line in degrees, its score."""

    box: Box
    roll: float
    confidence: float


class BlazeFace:
    """Finds faces with BlazeFace, FaceMesh and dlib's ResNet."""

    space = "dlib"
    same_person = 0.6
    """dlib's published threshold; one person measured 0.26–0.48 on real photos, different people 0.63–1.04."""

    def __init__(
        self, detectors: tuple[Detector, Detector], mesh: Interpreter, iris: Interpreter, embedder: Embedder
    ) -> None:
        self._near, self._far = detectors
        self._mesh = mesh
        self._iris = iris
        self._embedder = embedder

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        """Faces of an upright image, the largest first; see `portrait.ports.FaceFinder`."""
        looked = [self._face(image, found) for found in self._detect(image)]
        faces = _distinct([face for face in looked if face is not None])
        faces.sort(key=lambda face: -face.box.area)
        return [self._embed(image, face) for face in faces[:embedded]] + faces[embedded:]

    def close(self) -> None:
        """Let the detectors go; at the interpreter's end MediaPipe's own clean-up comes too late and complains."""
        self._near.close()
        self._far.close()

    def _detect(self, image: Image) -> list["_Found"]:
        """Boxes of faces, one a face; where all faces are small the tiles are searched too."""
        found = [each for detector in (self._near, self._far) for each in _run(detector, image, (0, 0))]
        largest = max((each.box.width for each in found), default=0.0)
        if largest < SMALL * min(image.shape[:2]):
            found += [each for left, top, tile in _tiles(image) for each in _run(self._far, tile, (left, top))]
        return _distinct(found)

    def _face(self, image: Image, found: "_Found") -> Face | None:
        """The face in a box, or None where the mesh sees no face."""
        mesh, presence = self._landmarks(image, found.box, found.roll)
        if presence >= PRESENCE:
            # Centred and levelled by the first look's mesh, the second moves landmarks by 1 to 2 % of the face.
            mesh, presence = self._landmarks(image, around(mesh), pose_from_mesh(mesh).roll)
        if presence < PRESENCE:
            return None
        mesh = self._eyes(image, mesh)
        return Face(around(mesh), five_of(mesh), mesh, {}, pose_from_mesh(mesh), found.confidence)

    def _landmarks(self, image: Image, box: Box, roll: float) -> tuple[Points, float]:
        """468×3 mesh in pixels of `image`, and the presence of a face 0..1."""
        side = max(box.width, box.height) * MESH_ROOM
        frame = Frame(box.centre, side, side, roll)
        points, flag = _infer(self._mesh, crop(image, frame, MESH_SIZE, border=cv2.BORDER_CONSTANT))
        back = inverse(frame.to(MESH_SIZE))
        return move(points.reshape(-1, 3), back), float(1 / (1 + np.exp(-flag[0])))

    def _eyes(self, image: Image, mesh: Points) -> Points:
        """478×3: the mesh with the lids where the eye network sees them, and five points of each iris behind it."""
        roll = pose_from_mesh(mesh).roll
        out = np.vstack([mesh, np.zeros((10, 3), np.float32)])
        for at, contour in enumerate(CONTOURS):
            corners = mesh[[contour[0], contour[8]]]
            side = float(np.hypot(*(corners[1] - corners[0])[:2])) * EYE_ROOM
            x, y = corners.mean(axis=0)[:2]
            frame = Frame((float(x), float(y)), side, side, roll)
            cut = crop(image, frame, EYE_SIZE)
            # The network knows the eye on the left of a picture; the other one is shown to it in a mirror.
            lids, iris = _infer(self._iris, cut if at == 0 else np.ascontiguousarray(cut[:, ::-1]))
            points = np.vstack([lids.reshape(-1, 3)[: len(contour)], iris.reshape(-1, 3)])
            if at == 1:
                points[:, 0] = EYE_SIZE.width - points[:, 0]
            points = move(points, inverse(frame.to(EYE_SIZE)))
            out[list(contour), :2] = points[: len(contour), :2]
            irises = slice(len(mesh) + 5 * at, len(mesh) + 5 * at + 5)
            out[irises, :2] = points[len(contour) :, :2]
            out[irises, 2] = corners[:, 2].mean()
        return out

    def _embed(self, image: Image, face: Face) -> Face:
        vector = self._vector(image, face)
        return Face(face.box, face.landmarks, face.mesh, {self.space: vector}, face.pose, face.confidence)

    def _vector(self, image: Image, face: Face) -> Vector:
        """dlib's 128 numbers, as they come (norm about 1.4).

        dlib aligns by five points: the outer and inner corner of each eye, then the base of the nose. The mesh has them
        all; vectors differ by about 0.1 from those of dlib's own predictor, which costs 9 MB more.
        """
        if face.mesh is None:
            raise EngineError("no_mesh", "A face without a mesh cannot be embedded by this engine.")
        points = [dlib.point(round(float(x)), round(float(y))) for x, y in face.mesh[list(FIVE), :2]]
        box = dlib.rectangle(*(round(edge) for edge in (face.box.left, face.box.top, face.box.right, face.box.bottom)))
        shape = dlib.full_object_detection(box, points)
        chip = dlib.get_face_chip(np.ascontiguousarray(image), shape, 150, 0.25)
        return np.array(self._embedder.compute_face_descriptor(chip), np.float32)


def _run(detector: Detector, image: Image, at: tuple[int, int]) -> list[_Found]:
    """Detections in a part of a photo whose left and top are `at`, in the pixels of the photo."""
    height, width = image.shape[:2]
    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
    found = []
    for detection in detector.detect(picture).detections:
        box = detection.bounding_box
        left, top = box.origin_x + at[0], box.origin_y + at[1]
        one, other = detection.keypoints[:2]  # the eyes, the left one of the picture first
        roll = float(np.degrees(np.arctan2((other.y - one.y) * height, (other.x - one.x) * width)))
        score = float(detection.categories[0].score)
        found.append(_Found(Box(left, top, left + box.width, top + box.height), roll, score))
    return found


def _tiles(image: Image) -> list[tuple[int, int, Image]]:
    """Four overlapping tiles, each with its left and top."""
    height, width = image.shape[:2]
    tall, wide = max(1, round(height * TILE)), max(1, round(width * TILE))
    corners = [(left, top) for top in (0, height - tall) for left in (0, width - wide)]
    return [(left, top, image[top : top + tall, left : left + wide]) for left, top in corners]


_Boxed = TypeVar("_Boxed", _Found, Face)


def _distinct(found: Sequence[_Boxed]) -> list[_Boxed]:
    """One a face: of those whose centres lie within half a face of each other, the surest."""
    kept: list[_Boxed] = []
    for each in sorted(found, key=lambda one: -one.confidence):
        if all(_apart(each.box, other.box) for other in kept):
            kept.append(each)
    return kept


def _apart(one: Box, other: Box) -> bool:
    distance = max(abs(one.centre[0] - other.centre[0]), abs(one.centre[1] - other.centre[1]))
    return distance > 0.5 * max(one.width, other.width)


def make(settings: Settings, models: Models, engines: Engines) -> BlazeFace:
    """Load the five networks; about 0.4 s."""
    # LiteRT and MediaPipe announce their delegates on every start; only what is wrong is worth a line.
    logging.getLogger("absl").setLevel(logging.WARNING)
    # All files first: a detector that was made and never closed keeps the process from ending.
    near, far = (
        models.file("blazeface", f"face_detection_{name}.tflite") for name in ("short_range", "full_range_sparse")
    )
    mesh, iris = models.file("facemesh", "face_landmark.tflite"), models.file("iris", "iris_landmark.tflite")
    embedder = models.file("dlib", "dlib_face_recognition_resnet_model_v1.dat")
    return BlazeFace(
        (_detector(near.read_bytes()), _detector(far.read_bytes())),
        _network(mesh),
        _network(iris),
        dlib.face_recognition_model_v1(str(embedder)),
    )


def _network(path: Path) -> Interpreter:
    network = Interpreter(model_path=str(path), num_threads=1)
    network.allocate_tensors()
    return network


def _infer(network: Interpreter, image: Image) -> list[NDArray[np.float32]]:
    """Run a network on one picture (values 0..1); its outputs, flat, the largest first."""
    network.set_tensor(network.get_input_details()[0]["index"], (image[None] / 255).astype(np.float32))
    network.invoke()
    outputs = [network.get_tensor(each["index"]).ravel() for each in network.get_output_details()]
    return sorted(outputs, key=len, reverse=True)


def _detector(model: bytes) -> Detector:
    options = vision.FaceDetectorOptions(
        base_options=BaseOptions(model_asset_buffer=model), min_detection_confidence=DETECTION
    )
    return vision.FaceDetector.create_from_options(options)


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing."""
    return [each for name in ("blazeface", "facemesh", "iris", "dlib") for each in models.missing(name)]
