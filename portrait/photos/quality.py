"""Measures the quality of the face in a photo, and names faults that a person can correct.

Every measure is taken on the face alone and in proportion to its size, so that the room, the camera's resolution and the
colour of the skin do not matter. docs/judging.md shows how often each code fires as a fault grows.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Size
from portrait.faces.geometry import RotatedRect, crop
from portrait.photos.reasons import TIPS, Thresholds
from portrait.types import Face, Quality, Reason

SHARPNESS = Size(128, 128)
"""Size at which sharpness is measured: all the pixels of a 94 px face, and no more of a large one, so that both compare."""


def judge(image: Image, face: Face, scale: float, limits: Thresholds) -> Quality:
    """The quality of a face; `scale` is how many native pixels one pixel of `image` stands for."""
    shares = {
        "sharpness": _ramp(measure_sharpness(image, face), 0.15, 0.45),
        "exposure": _exposure(image, face, limits),
        "frontality": math.cos(math.radians(min(abs(face.pose.yaw) * 1.4, 90)))
        * math.cos(math.radians(face.pose.pitch)),
        "size": min(1.0, face.box.width * scale / limits.full_size),
        "eyes": _ramp(eye_opening(face), 0.12, 0.28),
        "framing": 1 - min(1.0, share_outside(image, face) / (2 * limits.cut)),
    }
    shares = {name: float(np.clip(share, 0, 1)) for name, share in shares.items()}
    # The floor keeps a part near zero from hiding how the others compare.
    total = math.exp(sum(math.log(max(share, 0.02)) for share in shares.values()) / len(shares))
    return Quality(**shares, total=total)


def find_faults(image: Image, face: Face, scale: float, limits: Thresholds) -> list[str]:
    """Codes of what is wrong with a face, the gravest first; `scale` as in `judge`."""
    dark, clipped = face_light(image, face)
    checks = {
        "face_small": face.box.width * scale < limits.small,
        "face_cut": share_outside(image, face) > limits.cut,
        "dark": dark < limits.dark,
        "bright": clipped > limits.clipped,
        "blurred": measure_sharpness(image, face) < limits.sharp,
        "turned_away": abs(face.pose.yaw) > limits.turned or abs(face.pose.pitch) > limits.tilted,
        "eyes_closed": eye_opening(face) < limits.eyes,
    }
    return [code for code, fires in checks.items() if fires]


def reason_for(code: str) -> Reason:
    """The reason of a code, with its tip."""
    return Reason(code, TIPS[code])


def has_main_face(faces: list[Face], limits: Thresholds) -> bool:
    """Whether the largest face is clearly larger than the others; `faces` are sorted, the largest first."""
    return len(faces) < 2 or faces[0].box.area >= limits.crowd * faces[1].box.area


def measure_sharpness(image: Image, face: Face) -> float:
    """0 (blurred) to about 0.6 (sharp): how much contrast between neighbours a second blur removes.

    Crété et al. 2007, "The blur effect", on 128 px of levelled face, across, down and along both diagonals: the camera may
    have shaken any way. A bilateral filter first keeps noise from counting as detail. Independent of exposure and of
    resolution from 128 px of face upwards.
    """
    side = max(face.box.width, face.box.height) * 1.1
    return min(
        _detail(crop(image, RotatedRect(face.box.centre, side, side, face.pose.roll + lean), SHARPNESS))
        for lean in (0, 45)
    )


def _detail(levelled: Image) -> float:
    """Share of contrast that a blur of nine pixels removes, the lesser of both directions."""
    grey = cv2.bilateralFilter(cv2.cvtColor(levelled, cv2.COLOR_RGB2GRAY), 5, 25, 3).astype(np.float32)
    shares = []
    for axis, kernel in ((0, (1, 9)), (1, (9, 1))):
        detail = np.abs(np.diff(grey, axis=axis))
        lost = detail - np.abs(np.diff(cv2.blur(grey, kernel), axis=axis))
        shares.append(np.maximum(lost, 0).sum() / max(float(detail.sum()), 1e-6))
    return float(min(shares))


def face_light(image: Image, face: Face) -> tuple[float, float]:
    """Light on the face: 95th percentile of its luma (0..255), share of its pixels that are clipped (0..1)."""
    luma = _luma(image, face)
    return float(np.percentile(luma, 95)), float((luma >= 250).mean())


def eye_opening(face: Face) -> float:
    """Eye aspect ratio, height over width, of the eye that is open wider: a wink does not count as closed eyes.

    Without a mesh it cannot be measured and counts as open.
    """
    return max(_openings(face))


def smaller_eye_opening(face: Face) -> float:
    """Eye aspect ratio of the eye that is less open, for pictures in which both must be open."""
    return min(_openings(face))


def _openings(face: Face) -> tuple[float, float]:
    """Eye aspect ratios of the left and the right eye."""
    if face.mesh is None:
        return 0.3, 0.3
    points = face.mesh[:, :2]

    def opening(corners: tuple[int, int], lids: tuple[tuple[int, int], ...]) -> float:
        width = np.hypot(*(points[corners[0]] - points[corners[1]]))
        heights = [np.hypot(*(points[upper] - points[lower])) for upper, lower in lids]
        return float(np.mean(heights) / max(width, 1e-6))

    # Soukupová & Čech 2016, "eye aspect ratio", on the mesh's lid points.
    left = opening((33, 133), ((160, 144), (159, 145), (158, 153)))
    right = opening((362, 263), ((385, 380), (386, 374), (387, 373)))
    return left, right


def share_outside(image: Image, face: Face) -> float:
    """Share of the face's box that lies outside the picture, 0..1."""
    height, width = image.shape[:2]
    box = face.box
    visible_width = max(0.0, min(box.right, width) - max(box.left, 0))
    visible_height = max(0.0, min(box.bottom, height) - max(box.top, 0))
    return 1 - visible_width * visible_height / max(box.area, 1e-6)


def _luma(image: Image, face: Face) -> NDArray[np.uint8]:
    """Luma of the pixels inside the face's outline; the box where there is no mesh or it lies outside."""
    height, width = image.shape[:2]
    box = face.box
    left, top = max(0, math.floor(box.left)), max(0, math.floor(box.top))
    right, bottom = min(width, math.ceil(box.right) + 1), min(height, math.ceil(box.bottom) + 1)
    if right - left < 2 or bottom - top < 2:
        return np.zeros(1, np.uint8)
    grey = np.asarray(cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_RGB2GRAY), np.uint8)
    if face.mesh is None:
        return grey.ravel()
    inside = np.zeros(grey.shape, np.uint8)
    hull = cv2.convexHull((face.mesh[:, :2] - (left, top)).round().astype(np.int32))
    cv2.fillConvexPoly(inside, hull, 1)
    pixels = grey[inside > 0]
    return pixels if pixels.size else grey.ravel()


def _exposure(image: Image, face: Face, limits: Thresholds) -> float:
    bright, clipped = face_light(image, face)
    return min(_ramp(bright, limits.dark * 0.6, 150.0), 1 - _ramp(clipped, 0.05, limits.clipped * 1.5))


def _ramp(value: float, low: float, high: float) -> float:
    """0 at `low` and below, 1 at `high` and above."""
    return float(np.clip((value - low) / (high - low), 0, 1))
