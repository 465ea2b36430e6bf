"""Measures the quality of the face in a photo, and names faults that a person can correct.

Every measure is taken on the face alone and in proportion to its size, so that the room, the camera's resolution and the
colour of the skin do not matter. docs/judging.md shows how often each code fires as a fault grows.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Size
from portrait.faces.geometry import RotatedRect, bounding_box, box_slices, crop
from portrait.faces.glasses import wears_sunglasses
from portrait.faces.mesh import EYES
from portrait.photos.reasons import TIPS, Thresholds
from portrait.types import Face, Quality, Reason

SHARPNESS = Size(128, 128)
"""Size at which sharpness is measured: all the pixels of a 94 px face, and no more of a large one, so that both compare."""


def judge(image: Image, face: Face, scale: float, limits: Thresholds, sharpness: float | None = None) -> Quality:
    """The quality of a face; `scale` is how many native pixels one pixel of `image` stands for.

    `sharpness`: that of `measure_sharpness`, where it was measured before.
    """
    shares = {
        "sharpness": _ramp(measure_sharpness(image, face) if sharpness is None else sharpness, 0.15, 0.45),
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


def find_faults(
    image: Image, face: Face, scale: float, limits: Thresholds, sharpness: float | None = None
) -> list[str]:
    """Codes of what is wrong with a face, the gravest first; `scale` and `sharpness` as in `judge`."""
    dark, clipped = face_light(image, face)
    checks = {
        "face_small": face.box.width * scale < limits.small,
        "face_cut": share_outside(image, face) > limits.cut,
        "dark": dark < limits.dark,
        "bright": clipped > limits.clipped,
        "blurred": (measure_sharpness(image, face) if sharpness is None else sharpness) < limits.sharp,
        "turned_away": abs(face.pose.yaw) > limits.turned or abs(face.pose.pitch) > limits.tilted,
        "eyes_closed": eye_opening(face) < limits.eyes,
    }
    codes = [code for code, fires in checks.items() if fires]
    # Behind sunglasses the mesh guesses the eyes, so that whether they are shut is not known.
    return ["sunglasses", *(c for c in codes if c != "eyes_closed")] if wears_sunglasses(image, face) else codes


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
    """Light on the face: luma 0..255 of what is brightest in it, and the share of its pixels that are clipped (0..1).

    The brightest is skin (95th percentile) or, where skin is dark, the white of the eye (98th), which has one colour in all
    people: in light skin it reads 0.0 to 0.4 stops below the skin where eyes are open, and 1 stop where they are narrow.
    """
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    luma = _luma(grey, face)
    white = [_luma_inside(grey, points) for points in _eye_outlines(face)]
    eyes = max((float(np.percentile(each, 98)) for each in white if each.size), default=0.0)
    return max(float(np.percentile(luma, 95)), eyes), float((luma >= 250).mean())


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


def _luma(grey: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
    """Luma of the pixels inside the face's outline; the box where there is no mesh or it lies outside."""
    if face.mesh is not None:
        hull = cv2.convexHull(np.ascontiguousarray(face.mesh[:, :2], np.float32))
        inside = _luma_inside(grey, np.asarray(hull[:, 0], np.float32))
        if inside.size:
            return inside
    pixels = grey[box_slices(face.box, grey.shape)]
    return pixels.ravel() if min(pixels.shape) >= 2 else np.zeros(1, np.uint8)


def _luma_inside(grey: NDArray[np.uint8], outline: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Luma of the pixels inside an outline of N×2 points, as far as it lies in the picture."""
    window = box_slices(bounding_box(np.asarray(outline, np.float32)), grey.shape)
    part = grey[window]
    inside = np.zeros(part.shape, np.uint8)
    if part.size:
        cv2.fillPoly(inside, [(outline - (window[1].start, window[0].start)).round().astype(np.int32)], 1)
    return part[inside > 0]


def _eye_outlines(face: Face) -> list[NDArray[np.floating]]:
    """Edges of both eyes' lids; around the eye's centre, as open as eyes usually are, where there is no mesh."""
    if face.mesh is not None:
        return [face.mesh[list(eye), :2] for eye in EYES]
    away = float(np.hypot(*(face.landmarks[1] - face.landmarks[0])))
    lids = np.array([[-0.2, 0], [0, -0.08], [0.2, 0], [0, 0.08]]) * away
    return [eye + lids for eye in face.landmarks[:2]]


def _exposure(image: Image, face: Face, limits: Thresholds) -> float:
    bright, clipped = face_light(image, face)
    return min(_ramp(bright, limits.dark * 0.6, 150.0), 1 - _ramp(clipped, 0.05, limits.clipped * 1.5))


def _ramp(value: float, low: float, high: float) -> float:
    """0 at `low` and below, 1 at `high` and above."""
    return float(np.clip((value - low) / (high - low), 0, 1))
