"""Draws OpenPose skeletons as ControlNet expects them: joints, limbs and face points, in the published colours."""

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
"""Colours (RGB) of the joints; limbs take the same, by their place in `LIMBS`."""
FACE = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
    *(468, 473),
)
"""Points of MediaPipe's mesh nearest to the 70 face points of OpenPose: outline, brows, nose, eyes, mouth, and the irises,
which only a mesh of 478 points has."""
TRAINED_SIDE = 512
"""Short side of the pictures that the published networks were trained on; the widths below are pixels of such a picture."""
LIMB_WIDTH, JOINT_RADIUS, FACE_POINT_RADIUS = 4, 4, 3
LIMB_BRIGHTNESS = 0.6
"""Limbs are drawn at this share of their brightness, joints fully."""


@dataclass(frozen=True, slots=True, eq=False)
class Skeleton:
    """Joints and face points of one person."""

    joints: Points
    """18×2 pixels in the order of `JOINTS`; NaN for a joint that is not visible."""
    face: Points
    """N×2 pixels of the face; empty where it is not visible."""


def draw_skeletons(people: Sequence[Skeleton], size: Size) -> Image:
    """A picture of `size` with all skeletons on black."""
    canvas = np.zeros((size.height, size.width, 3), np.uint8)
    scale = max(min(size.width, size.height) / TRAINED_SIDE, 0.25)
    for person in people:
        for (one, other), colour in zip(LIMBS, COLOURS, strict=False):
            _limb(canvas, person.joints[[one, other]], colour, scale)
    canvas = np.asarray((canvas * LIMB_BRIGHTNESS).astype(np.uint8))
    for person in people:
        for joint, colour in zip(person.joints, COLOURS, strict=True):
            _dot(canvas, joint, colour, JOINT_RADIUS * scale)
        for point in person.face:
            _dot(canvas, point, (255, 255, 255), FACE_POINT_RADIUS * scale)
    return canvas


def face_points(mesh: Points) -> Points:
    """The N×2 face points of OpenPose, of a face's mesh."""
    return np.asarray(mesh[[point for point in FACE if point < len(mesh)], :2], np.float32)


def _limb(canvas: Image, ends: NDArray[np.float32], colour: tuple[int, int, int], scale: float) -> None:
    """Draw an ellipse from joint to joint, where both are visible."""
    if np.isnan(ends).any():
        return
    (x, y), (across, down) = ends.mean(axis=0), ends[0] - ends[1]
    axes = (int(np.hypot(across, down) / 2), max(1, round(LIMB_WIDTH * scale)))
    turned = int(np.degrees(np.arctan2(down, across)))
    outline = np.array(cv2.ellipse2Poly((int(x), int(y)), axes, turned, 0, 360, 1), np.int32)
    cv2.fillConvexPoly(canvas, outline, colour)


def _dot(canvas: Image, point: NDArray[np.float32], colour: tuple[int, int, int], radius: float) -> None:
    if not np.isnan(point).any():
        cv2.circle(canvas, (int(point[0]), int(point[1])), max(1, round(radius)), colour, -1)
