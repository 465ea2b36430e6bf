"""The figure that OpenPose draws of people: joints, limbs and the dots of a face, in its published colours."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Points, Size

JOINTS = (
    *("nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist"),
    *("right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle"),
    *("right eye", "left eye", "right ear", "left ear"),
)
"""The 18 points in OpenPose's order; right and left are the person's own."""
NOSE, NECK = JOINTS.index("nose"), JOINTS.index("neck")
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
"""Pairs of joints, in OpenPose's order."""
COLOURS = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0)),
    *((0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255)),
    *((170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
"""Of the joints; limbs take the same, by their place in `LIMBS`."""
FACE = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
    *(468, 473),
)
"""Points of MediaPipe's mesh that are nearest to the 70 that OpenPose knows of a face: outline, brows, nose, eyes, mouth, and
the irises, which only a mesh of 478 points has."""
SIDE = 512
"""Short side of the pictures that the published networks were shown; widths are pixels of such a one."""
STICK, DOT, FACE_DOT = 4, 4, 3
DIM = 0.6
"""Limbs are drawn at this share of their brightness, joints fully."""


@dataclass(frozen=True, slots=True, eq=False)
class Skeleton:
    """One person."""

    joints: Points
    """18×2 pixels in the order of `JOINTS`; NaN where one is not seen."""
    face: Points
    """N×2 pixels: dots of the face; none where it is not seen."""


def draw_skeletons(people: Sequence[Skeleton], size: Size) -> Image:
    """All of them on black."""
    canvas = np.zeros((size.height, size.width, 3), np.uint8)
    scale = max(min(size.width, size.height) / SIDE, 0.25)
    for person in people:
        for (one, other), colour in zip(LIMBS, COLOURS, strict=False):
            _limb(canvas, person.joints[[one, other]], colour, scale)
    canvas = np.asarray((canvas * DIM).astype(np.uint8))
    for person in people:
        for joint, colour in zip(person.joints, COLOURS, strict=True):
            _dot(canvas, joint, colour, DOT * scale)
        for point in person.face:
            _dot(canvas, point, (255, 255, 255), FACE_DOT * scale)
    return canvas


def face_points(mesh: Points) -> Points:
    """A face's dots of its mesh."""
    return np.asarray(mesh[[point for point in FACE if point < len(mesh)], :2], np.float32)


def _limb(canvas: Image, ends: NDArray[np.float32], colour: tuple[int, int, int], scale: float) -> None:
    """An ellipse from joint to joint, where both are seen."""
    if np.isnan(ends).any():
        return
    (x, y), (across, down) = ends.mean(axis=0), ends[0] - ends[1]
    axes = (int(np.hypot(across, down) / 2), max(1, round(STICK * scale)))
    turned = int(np.degrees(np.arctan2(down, across)))
    outline = np.array(cv2.ellipse2Poly((int(x), int(y)), axes, turned, 0, 360, 1), np.int32)
    cv2.fillConvexPoly(canvas, outline, colour)


def _dot(canvas: Image, point: NDArray[np.float32], colour: tuple[int, int, int], radius: float) -> None:
    if not np.isnan(point).any():
        cv2.circle(canvas, (int(point[0]), int(point[1])), max(1, round(radius)), colour, -1)
