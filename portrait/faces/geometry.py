"""Geometry of faces in pictures: rotated crops, affine maps of points and faces, head pose from landmarks."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Points, Size
from portrait.faces.mesh import (
    CHIN,
    EYE_LEFT,
    EYE_LEFT_INNER,
    EYE_RIGHT,
    EYE_RIGHT_INNER,
    FOREHEAD,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    NOSE_TIP,
)
from portrait.images.windows import Window, reduced_size, shrink_window
from portrait.types import Box, Face, Pose

Affine = NDArray[np.float64]
"""2×3, from pixels of one picture to pixels of another, as `cv2.warpAffine` takes it."""


@dataclass(frozen=True, slots=True)
class RotatedRect:
    """A rotated rectangle in a picture, in pixels: the part that a crop shows."""

    centre: tuple[float, float]
    width: float
    height: float
    roll: float
    """Rotation in degrees, clockwise."""

    def corners(self) -> NDArray[np.float64]:
        """4×2 pixels: top left, top right, bottom right, bottom left."""
        across, down = self._axes()
        centre = np.array(self.centre)
        return np.array([centre + x * across + y * down for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])

    def matrix_to(self, size: Size) -> Affine:
        """The map from the picture to a crop of `size` pixels."""
        corners = self.corners()[[0, 1, 3]].astype(np.float32)
        target = np.array([[0, 0], [size.width, 0], [0, size.height]], np.float32)
        return np.asarray(cv2.getAffineTransform(corners, target), np.float64)

    def scale(self, factor: float) -> "RotatedRect":
        """The same rectangle in the pixels of a picture that is `factor` times as large."""
        centre = (self.centre[0] * factor, self.centre[1] * factor)
        return RotatedRect(centre, self.width * factor, self.height * factor, self.roll)

    def crop_to_aspect(self, ratio: float) -> "RotatedRect":
        """The largest rectangle inside this one, with the same centre and roll, of width : height = `ratio`."""
        width, height = min(self.width, self.height * ratio), min(self.height, self.width / ratio)
        return RotatedRect(self.centre, width, height, self.roll)

    def _axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        angle = math.radians(self.roll)
        across = np.array([math.cos(angle), math.sin(angle)]) * self.width / 2
        down = np.array([-math.sin(angle), math.cos(angle)]) * self.height / 2
        return across, down


def image_size(image: Image) -> Size:
    """Width and height of a picture."""
    return Size(image.shape[1], image.shape[0])


def crop(image: Image, frame: RotatedRect, size: Size, border: int = cv2.BORDER_REPLICATE) -> Image:
    """Crop `frame` out of `image` at `size` pixels, with anti-aliasing; `border` is OpenCV's mode beyond the picture.

    Of the modes those that repeat the last pixel or take a constant: others would look at what is not there.
    """
    shrink = min(frame.width / size.width, frame.height / size.height)
    matrix = frame.matrix_to(size)
    if shrink > 1.5:
        # warpAffine reads single pixels: shrinking much at once would alias, so the picture is averaged down first.
        small = _shrink_around(image, frame, 1 / shrink)
        real = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]])
        matrix = matrix @ np.array(
            [[1 / real[0], 0, 0.5 / real[0] - 0.5], [0, 1 / real[1], 0.5 / real[1] - 0.5], [0, 0, 1]]
        )
        image = small
    out = cv2.warpAffine(image, matrix, (size.width, size.height), flags=cv2.INTER_CUBIC, borderMode=border)
    return np.asarray(out, np.uint8)


def _shrink_around(image: Image, frame: RotatedRect, factor: float) -> Image:
    """A reduced picture, black where a frame shows nothing of it: what is not filled takes neither time nor memory."""
    size = reduced_size(image, factor, factor)
    limits = np.array([size.width, size.height])
    corners = frame.corners() * (limits / (image.shape[1], image.shape[0]))
    # A bicubic filter reads two pixels to either side; beyond the picture's edge its last pixel is repeated, so that one stays.
    first = np.clip(np.floor(corners.min(axis=0)) - 3, 0, limits - 1).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0)) + 4, 1, limits).astype(int)
    window = Window(int(first[0]), int(first[1]), int(last[0]), int(last[1]))
    out = np.zeros((size.height, size.width, *image.shape[2:]), np.uint8)
    window.crop(out)[:] = shrink_window(image, window, factor, factor)
    return out


def invert(matrix: Affine) -> Affine:
    """The inverse map."""
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def transform_points(points: Points, matrix: Affine) -> Points:
    """Transform N×2 or N×3 points by an affine map; depth scales with the picture."""
    moved = points.astype(np.float64).copy()
    moved[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    if points.shape[1] == 3:
        moved[:, 2] *= math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    return moved.astype(np.float32)


def transform_face(face: Face, matrix: Affine) -> Face:
    """The same face in the pixels of another picture; the map's rotation is added to its roll."""
    turn = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    outline = np.array(
        [[face.box.left, face.box.top], [face.box.right, face.box.top],
         [face.box.right, face.box.bottom], [face.box.left, face.box.bottom]], np.float32
    )  # fmt: skip
    mesh = None if face.mesh is None else transform_points(face.mesh, matrix)
    box = bounding_box(transform_points(outline, matrix) if mesh is None else mesh)
    roll = (face.pose.roll + turn + 180) % 360 - 180
    pose = Pose(face.pose.yaw, face.pose.pitch, roll)
    return Face(box, transform_points(face.landmarks, matrix), mesh, face.embeddings, pose, face.confidence)


def scaling_matrix(factor: float) -> Affine:
    """The map that scales a picture by `factor`; pixel centres stay pixel centres."""
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2]], np.float64)


def bounding_box(points: Points) -> Box:
    """The smallest box around N×2 or N×3 points."""
    left, top = points[:, :2].min(axis=0)
    right, bottom = points[:, :2].max(axis=0)
    return Box(float(left), float(top), float(right), float(bottom))


def box_slices(box: Box, shape: tuple[int, ...], room: float = 0.0) -> tuple[slice, slice]:
    """Rows and columns of a box inside an array of `shape`, with `room` (a share of its larger side) on all sides."""
    extra = room * max(box.width, box.height)
    top, bottom = (int(np.clip(edge, 0, shape[0])) for edge in (box.top - extra, box.bottom + extra + 1))
    left, right = (int(np.clip(edge, 0, shape[1])) for edge in (box.left - extra, box.right + extra + 1))
    return slice(top, bottom), slice(left, right)


def five_landmarks(mesh: Points) -> Points:
    """The 5×2 landmarks of a mesh, in the order of `Face.landmarks`."""
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


def eye_shares(face: Face, image: Image) -> list[float]:
    """Return x and y of the eye on the left and of that on the right, as shares of the image's width and height."""
    height, width = image.shape[:2]
    left, right = face.landmarks[:2]
    return [round(float(at / side), 4) for at, side in zip((*left, *right), (width, height) * 2, strict=True)]


def head_and_shoulders_rect(face: Face) -> RotatedRect:
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
    return RotatedRect((float(centre[0]), float(centre[1])), unit * 5.2, unit * 5.6, face.pose.roll)


def fit_inside(frame: RotatedRect, size: Size) -> RotatedRect:
    """Shrink and shift a rectangle until it lies inside a picture of `size`; its roll stays."""
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
    return RotatedRect((float(centre[0]), float(centre[1])), width * share, height * share, frame.roll)
