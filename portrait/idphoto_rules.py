"""Rules of ID photos that no crop can meet: what the photo itself must show of face, light and surroundings.

Nothing here changes a face.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from portrait.arrays import Image
from portrait.faces.geometry import box_slices, eye_distance, image_size
from portrait.faces.glasses import wears_sunglasses
from portrait.faces.mesh import CHEEKS, INNER_LIPS, MOUTH_LEFT, MOUTH_RIGHT
from portrait.idphotos import HeadMeasures, Range
from portrait.images.color import to_linear
from portrait.photos.quality import face_light, measure_sharpness, share_outside, smaller_eye_opening
from portrait.photos.reasons import Thresholds
from portrait.types import Face


@dataclass(frozen=True, slots=True)
class RuleResult:
    """The result of checking one rule; `measured` and `allowed` are in `unit`."""

    name: str
    measured: float | None
    allowed: Range
    unit: str
    ok: bool
    tip: str = ""
    """What to do about it; empty where the rule is met."""


LIMITS: Mapping[str, Range] = {
    "people": Range(1, 1),
    "head_whole": Range(0.0, None),
    "yaw": Range(-8, 8),
    "pitch": Range(-10, 10),
    "roll": Range(-15, 15),
    "eyes_open": Range(Thresholds().eyes, None),
    "mouth_open": Range(None, 0.085),
    "smile": Range(None, 0.10),
    "eye_distance": Range(90, None),
    "sharpness": Range(Thresholds().sharp, None),
    "light": Range(Thresholds().dark, None),
    "glare": Range(None, Thresholds().clipped),
    "face_shadow": Range(None, 1.0),
    "sunglasses": Range(None, 0),
}
"""Allowed ranges of the checks of a photo. ISO/IEC 19794-5 asks for yaw and pitch within 5° and 90 px between the eyes; the
mesh's yaw is compressed and its pitch is uncertain by 3°, so the limits are a little wider. A tilt is levelled;
beyond 15° the shoulders would lean. Lips and their corners over the mouth's width: on the test photos three smiles with
teeth read 0.09 to 0.16 open and 0.13 to 0.15 raised, four neutral faces at most 0.08 and 0.08 (one in profile 0.11)."""

TIPS: Mapping[str, str] = {
    "people": "Another face is in the photo. Stand alone.",
    "head_whole": "The head is cut by the photo's edge. Leave room above and beside the hair.",
    "yaw": "The head is turned aside. Look straight into the camera.",
    "pitch": "The head is raised or lowered. Hold the camera at the height of your eyes.",
    "roll": "The head is tilted so far that levelling it leans the shoulders. Hold it upright.",
    "eyes_open": "An eye looks closed. Keep both open.",
    "mouth_open": "The mouth is open. Close it.",
    "smile": "You smile. Look neutral.",
    "eye_distance": "The face has too few pixels: fewer than 90 between the eyes. Come closer, or use the photo's original.",
    "sharpness": "The photo is blurred. Hold still, and wipe the lens.",
    "light": "The face is too dark. Turn towards a window.",
    "glare": "Part of the face is overexposed. Step out of direct light.",
    "face_shadow": "One side of the face lies in shadow. Turn towards the light until both are lit alike.",
    "sunglasses": "The glasses hide the eyes or darken them. Take them off.",
}
UNITS: Mapping[str, str] = {
    "people": "faces", "head_whole": "px", "yaw": "°", "pitch": "°", "roll": "°", "eyes_open": "height/width",
    "mouth_open": "height/width", "smile": "rise/width", "eye_distance": "px", "sharpness": "0..1", "light": "0..255",
    "glare": "share", "face_shadow": "stops", "sunglasses": "pairs",
}  # fmt: skip


def judge_photo(image: Image, face: Face, head: HeadMeasures, others: Sequence[Face]) -> tuple[RuleResult, ...]:
    """Check the rules that no crop can meet for a photo; `others` are the faces beside the person's."""
    bright, clipped = face_light(image, face)
    near = [other for other in others if other.box.area * 4 > face.box.area]
    found = {
        "people": 1.0 + len(near),
        "head_whole": _margin_above(image, face, head),
        "yaw": face.pose.yaw,
        "pitch": face.pose.pitch,
        "roll": face.pose.roll,
        "eyes_open": smaller_eye_opening(face),
        **_mouth_measures(face),
        "eye_distance": eye_distance(face),
        "sharpness": measure_sharpness(image, face),
        "light": bright,
        "glare": clipped,
    }
    return _check_rules(found)


def judge_eyes_and_light(image: Image, face: Face) -> tuple[RuleResult, ...]:
    """Check the rules that came after version 0.1.0, whose photos are made again without them."""
    return _check_rules(
        {"face_shadow": measure_face_shadow(image, face), "sunglasses": float(wears_sunglasses(image, face))}
    )


def _check_rules(found: Mapping[str, float]) -> tuple[RuleResult, ...]:
    return tuple(check_rule(name, value, LIMITS[name], UNITS[name], TIPS[name]) for name, value in found.items())


def measure_face_shadow(image: Image, face: Face) -> float:
    """Stops (base-2 logarithms of linear light) by which one cheek is darker than the other; 0 without a mesh."""
    if face.mesh is None:
        return 0.0
    rows, columns = box_slices(face.box, image.shape)
    part = to_linear(np.ascontiguousarray(image[rows, columns])).mean(axis=2)
    levels = []
    for cheek in CHEEKS:
        inside = np.zeros(part.shape, np.uint8)
        points = face.mesh[list(cheek), :2] - (columns.start, rows.start)
        cv2.fillConvexPoly(inside, cv2.convexHull(points.round().astype(np.int32)), 1)
        # A level below black's half step would have no logarithm.
        levels.append(np.log2(float(np.median(part[inside > 0])) + 1e-4) if inside.any() else math.nan)
    return abs(float(levels[0] - levels[1])) if not np.isnan(levels).any() else 0.0


def check_rule(name: str, measured: float, allowed: Range, unit: str, tip: str) -> RuleResult:
    """The result of a rule; it has the tip where the rule is not met."""
    ok = allowed.holds(round(measured, 6))
    return RuleResult(name, measured, allowed, unit, ok, "" if ok else tip)


def _mouth_measures(face: Face) -> dict[str, float]:
    """How far the lips are apart, and their corners above the middle, over the mouth's width."""
    if face.mesh is None:
        return {}
    angle = math.radians(face.pose.roll)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    upper, lower, left, right = face.mesh[[*INNER_LIPS, MOUTH_LEFT, MOUTH_RIGHT], :2] @ turn.T
    width = max(float(np.hypot(*(right - left))), 1e-6)
    middle, corners = (upper[1] + lower[1]) / 2, (left[1] + right[1]) / 2
    return {"mouth_open": float(np.hypot(*(upper - lower))) / width, "smile": float(middle - corners) / width}


def _margin_above(image: Image, face: Face, head: HeadMeasures) -> float:
    """Pixels between the hair and the nearest edge above; negative where hair or face go on beyond the photo."""
    size = image_size(image)
    angle = math.radians(head.roll)
    top = head.eyes[0] + math.sin(angle) * head.hair, head.eyes[1] - math.cos(angle) * head.hair
    margin = min(top[0], top[1], size.width - 1 - top[0])
    # A matte that ends within a pixel of the edge was ended by it.
    return -1.0 if share_outside(image, face) > 0 else margin - 1.5
