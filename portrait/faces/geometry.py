"""Level, align, crop, paste back; head pose from landmarks."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Points, Size
from portrait.types import Box, Face, Pose

# Indices of MediaPipe's mesh (its published figure), left and right as seen in the picture.
EYE_LEFT, EYE_LEFT_INNER = 33, 133
EYE_RIGHT, EYE_RIGHT_INNER = 263, 362
NOSE_TIP, NOSE_BASE = 1, 2
MOUTH_LEFT, MOUTH_RIGHT = 61, 291
FOREHEAD, CHIN = 10, 152

Affine = NDArray[np.float64]
"""2×3, from pixels of one picture to pixels of another, as OpenCV takes it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A turned rectangle in a picture: what a crop shows."""

    centre: tuple[float, float]
    width: float
    height: float
    roll: float
    """Degrees, clockwise: the frame's own top edge is tilted by this much."""

    def corners(self) -> NDArray[np.float64]:
        """4×2 pixels: top left, top right, bottom right, bottom left."""
        across, down = self._axes()
        centre = np.array(self.centre)
        return np.array([centre + x * across + y * down for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])

    def to(self, size: Size) -> Affine:
        """The map from the picture to a crop of `size` pixels."""
        corners = self.corners()[[0, 1, 3]].astype(np.float32)
        target = np.array([[0, 0], [size.width, 0], [0, size.height]], np.float32)
        return np.asarray(cv2.getAffineTransform(corners, target), np.float64)

    def scaled(self, factor: float) -> "Frame":
        """The same frame in the pixels of a picture that is `factor` times as large."""
        centre = (self.centre[0] * factor, self.centre[1] * factor)
        return Frame(centre, self.width * factor, self.height * factor, self.roll)

    def shaped(self, ratio: float) -> "Frame":
        """The largest frame inside this one with width : height = `ratio`: it gives way, it never stretches."""
        width, height = min(self.width, self.height * ratio), min(self.height, self.width / ratio)
        return Frame(self.centre, width, height, self.roll)

    def _axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        angle = math.radians(self.roll)
        across = np.array([math.cos(angle), math.sin(angle)]) * self.width / 2
        down = np.array([-math.sin(angle), math.cos(angle)]) * self.height / 2
        return across, down


def size_of(image: Image) -> Size:
    """Width and height of a picture."""
    return Size(image.shape[1], image.shape[0])


def crop(image: Image, frame: Frame, size: Size, border: int = cv2.BORDER_REPLICATE) -> Image:
    """Cut `frame` out of `image` at `size` pixels; what lies outside repeats the border."""
    shrink = min(frame.width / size.width, frame.height / size.height)
    matrix = frame.to(size)
    if shrink > 1.5:
        # warpAffine reads single pixels: shrinking much at once would alias, so the picture is averaged down first.
        factor = 1 / shrink
        small = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
        real = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]])
        matrix = matrix @ np.array(
            [[1 / real[0], 0, 0.5 / real[0] - 0.5], [0, 1 / real[1], 0.5 / real[1] - 0.5], [0, 0, 1]]
        )
        image = small
    cut = cv2.warpAffine(image, matrix, (size.width, size.height), flags=cv2.INTER_CUBIC, borderMode=border)
    return np.asarray(cut, np.uint8)


def inverse(matrix: Affine) -> Affine:
    """The way back."""
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def move(points: Points, matrix: Affine) -> Points:
    """Carry N×2 or N×3 points through an affine map; depth keeps its proportion to the picture."""
    moved = points.astype(np.float64).copy()
    moved[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    if points.shape[1] == 3:
        moved[:, 2] *= math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    return moved.astype(np.float32)


def move_face(face: Face, matrix: Affine) -> Face:
    """The same face in the pixels of another picture; a turn in the map is taken off its roll."""
    turn = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    outline = np.array(
        [[face.box.left, face.box.top], [face.box.right, face.box.top],
         [face.box.right, face.box.bottom], [face.box.left, face.box.bottom]], np.float32
    )  # fmt: skip
    mesh = None if face.mesh is None else move(face.mesh, matrix)
    box = around(move(outline, matrix) if mesh is None else mesh)
    roll = (face.pose.roll + turn + 180) % 360 - 180
    pose = Pose(face.pose.yaw, face.pose.pitch, roll)
    return Face(box, move(face.landmarks, matrix), mesh, face.embeddings, pose, face.confidence)


def scaled(factor: float) -> Affine:
    """The map that enlarges a picture by `factor`."""
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2]], np.float64)


def around(points: Points) -> Box:
    """The box around some points."""
    left, top = points[:, :2].min(axis=0)
    right, bottom = points[:, :2].max(axis=0)
    return Box(float(left), float(top), float(right), float(bottom))


def five_of(mesh: Points) -> Points:
    """The five landmarks of a mesh: eye centres, nose tip, mouth corners."""
    left_eye = (mesh[EYE_LEFT, :2] + mesh[EYE_LEFT_INNER, :2]) / 2
    right_eye = (mesh[EYE_RIGHT, :2] + mesh[EYE_RIGHT_INNER, :2]) / 2
    rest = mesh[[NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT], :2]
    return np.vstack([left_eye, right_eye, rest]).astype(np.float32)


def pose_from_mesh(mesh: Points) -> Pose:
    """Head pose from a mesh with depth: the directions of the eye line and of the line from forehead to chin.

    The depth of a one-camera mesh is compressed, so a true turn of 60° reads as about 40°: thresholds are in these
    degrees. The line from forehead to chin leans by 7° to 12° in faces that look level; 8° are taken off.
    """
    across = (mesh[EYE_RIGHT] - mesh[EYE_LEFT]).astype(np.float64)
    down = (mesh[CHIN] - mesh[FOREHEAD]).astype(np.float64)
    yaw = math.degrees(math.atan2(across[2], math.hypot(across[0], across[1])))
    pitch = math.degrees(math.atan2(down[2], math.hypot(down[0], down[1]))) - 8.0
    roll = math.degrees(math.atan2(across[1], across[0]))
    return Pose(yaw, pitch, roll)


# A plain head in millimetres, x to the right, y down, z away from the camera: eyes 64 mm apart, the mean distance
# between pupils; the other four numbers are rounded from adult anthropometric means.
_HEAD = np.array([[-32, 0, 24], [32, 0, 24], [0, 38, 0], [-25, 68, 18], [25, 68, 18]], np.float64)


def pose_from_landmarks(landmarks: Points) -> Pose:
    """Head pose from the five landmarks, for engines without a mesh; scaled orthography, least squares.

    The two rows of the fitted camera are made orthonormal; a third follows from them. Rougher than the mesh.
    """
    head = _HEAD - _HEAD.mean(axis=0)
    points = landmarks[:, :2].astype(np.float64) - landmarks[:, :2].mean(axis=0)
    rows, *_ = np.linalg.lstsq(head, points, rcond=None)
    left, _, right = np.linalg.svd(rows.T, full_matrices=False)
    first, second = left @ right
    third = np.cross(first, second)
    yaw = math.degrees(math.atan2(third[0], third[2]))
    pitch = math.degrees(math.atan2(third[1], math.hypot(third[0], third[2])))
    eyes = landmarks[1, :2] - landmarks[0, :2]
    return Pose(yaw, pitch, math.degrees(math.atan2(eyes[1], eyes[0])))


def eye_distance(face: Face) -> float:
    """Pixels between the eye centres, corrected for the turn of the head so that profiles do not read as small."""
    eyes = face.landmarks[1] - face.landmarks[0]
    return float(np.hypot(*eyes)) / max(math.cos(math.radians(face.pose.yaw)), 0.4)


def head_and_shoulders(face: Face) -> Frame:
    """The frame of a portrait: level eyes, the face in the upper half, room for hair and shoulders.

    Measured in distances between the eyes: 2 above them for hair and headroom, 3.6 below, 5.2 across. The face takes
    about 15 % of the area.
    """
    middle = face.landmarks[:2].mean(axis=0)
    reach = float(np.hypot(*(face.landmarks[3:].mean(axis=0) - middle)))
    unit = max(eye_distance(face), reach * 0.9)
    angle = math.radians(face.pose.roll)
    down = np.array([-math.sin(angle), math.cos(angle)])
    centre = middle + down * unit * 0.8
    return Frame((float(centre[0]), float(centre[1])), unit * 5.2, unit * 5.6, face.pose.roll)


def fit(frame: Frame, size: Size) -> Frame:
    """Shrink and shift a frame until it lies inside a picture of `size`; its roll stays."""
    cosine, sine = abs(math.cos(math.radians(frame.roll))), abs(math.sin(math.radians(frame.roll)))
    width, height = frame.width, frame.height
    # Each side may take what the other leaves of the picture; beyond 45° of roll both shrink alike.
    if sine < cosine:
        height = min(height, (size.height - min(width, size.width / 2) * sine) / cosine)
        width = min(width, (size.width - height * sine) / cosine)
    reach = np.array([width * cosine + height * sine, width * sine + height * cosine]) / 2
    share = min(1.0, size.width / 2 / reach[0], size.height / 2 / reach[1])
    reach *= share
    centre = np.clip(np.array(frame.centre), reach, np.maximum((size.width, size.height) - reach, reach))
    return Frame((float(centre[0]), float(centre[1])), width * share, height * share, frame.roll)
