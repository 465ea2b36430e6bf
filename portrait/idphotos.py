"""ID photos: measures of the head, the crop that fits a preset's rules best, and checks of the photo itself.

Nothing here changes a face. Lengths of a head are pixels of the photo along the head's own axis, from the line of the eyes;
lengths in a picture are shares of its height, horizontal ones too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points, Size
from portrait.errors import EngineError
from portrait.faces.geometry import RotatedRect, eye_distance, image_size
from portrait.faces.mesh import CHIN, FACE_SIDES, INNER_LIPS, MOUTH_LEFT, MOUTH_RIGHT
from portrait.photos.quality import face_light, measure_sharpness, share_outside, smaller_eye_opening
from portrait.photos.reasons import Thresholds
from portrait.types import Face

Crown: TypeAlias = Literal["hair", "skull"]
"""What a preset takes for the top of the head: the highest hair, or the skull under it."""

SKULL = (0.93, 1.15)
"""Least and largest height of the skull above the eyes over that of the eyes above the chin. Eyes lie in the middle of an
adult head (its canon in drawing); about a twelfth to either side covers people and a head that leans."""
HAIR = 0.08
"""Height of hair lying on the skull, in the same unit: about 1 cm."""
STRAY = 0.06
"""Least width of what counts as hair, over the face's: single stray hairs do not make a head taller."""
HEADROOM = (0.03, 0.09)
"""Least and preferred room above the hair for presets without a rule for it: 4 mm of 45."""
EDGE = 0.05
"""Share of a range by which its ends are avoided, so that a slightly different measurement still fits."""


@dataclass(frozen=True, slots=True)
class Range:
    """An allowed range of a number; None leaves an end open."""

    low: float | None = None
    high: float | None = None

    def holds(self, value: float) -> bool:
        """Whether the value lies in it."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def beyond(self, value: float) -> float:
        """Distance of the value outside the range, which is narrowed by `EDGE` at both ends."""
        edge = EDGE * (self.high - self.low) if self.low is not None and self.high is not None else 0.0
        low = -math.inf if self.low is None else self.low + edge
        high = math.inf if self.high is None else self.high - edge
        return max(low - value, value - high, 0.0)


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


@dataclass(frozen=True, slots=True)
class HeadMeasures:
    """Measures of a head in a photo, in its pixels."""

    eyes: tuple[float, float]
    """Middle between the eyes."""
    roll: float
    """Degrees, as in `Pose`."""
    hair: float
    """From the eyes up to the highest hair."""
    skull: float
    """From the eyes up to the top of the skull, estimated where hair covers it."""
    chin: float
    """From the eyes down to the chin."""
    breadth: float
    """From cheek to cheek, where the mesh ends before the ears."""

    def top(self, crown: Crown) -> float:
        """From the eyes up to the crown as a preset defines it."""
        return self.hair if crown == "hair" else self.skull


@dataclass(frozen=True, slots=True)
class FramingRules:
    """The rules of a preset for the crop, in shares of the picture's height."""

    head: Range
    """From the chin to the crown."""
    crown: Crown = "hair"
    eyes: Range = Range()
    """From the lower edge to the eyes."""
    top: Range = Range()
    """From the crown to the upper edge."""
    below: Range = Range()
    """From the lower edge to the chin."""
    breadth: Range = Range()


def measure_head(person: Mask, face: Face) -> HeadMeasures:
    """Measure the head of `face` in the matte of its person; raises `EngineError` (`no_mesh`).

    Eyes and chin are those of the mesh. The highest hair is the topmost row of the levelled matte, above the face, that is
    as wide as a lock. The skull lies a little below it, within what anatomy allows for the distance from eyes to chin.
    """
    if face.mesh is None:
        raise EngineError("no_mesh", "An ID photo needs a face mesh. Choose a face engine that gives one.")
    mesh: Points = face.mesh[:, :2]
    eyes = face.landmarks[:2, :2].mean(axis=0).astype(np.float64)
    angle = math.radians(face.pose.roll)
    across, down = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    chin = max(float((mesh[CHIN] - eyes) @ down), 1.0)
    breadth = abs(float((mesh[FACE_SIDES[1]] - mesh[FACE_SIDES[0]]) @ across))
    hair = max(_hair_height(person, face, eyes, breadth), SKULL[0] * chin)
    skull = float(np.clip(hair - HAIR * chin, SKULL[0] * chin, SKULL[1] * chin))
    return HeadMeasures((float(eyes[0]), float(eyes[1])), face.pose.roll, hair, skull, chin, breadth)


def _hair_height(person: Mask, face: Face, eyes: NDArray[np.float64], breadth: float) -> float:
    """Pixels from the eyes up to the highest hair; 0 where the matte has nothing above them."""
    reach = 3.0 * breadth
    frame = RotatedRect((float(eyes[0]), float(eyes[1])), 1.4 * breadth, 2 * reach, face.pose.roll)
    size = Size(max(8, round(1.4 * breadth)), max(8, round(2 * reach)))
    levelled = cv2.warpAffine(person, frame.matrix_to(size), (size.width, size.height), flags=cv2.INTER_LINEAR)
    above = levelled[: size.height // 2] > 0.5
    rows = np.flatnonzero(above.sum(axis=1) >= max(1.0, STRAY * breadth))
    return (size.height / 2 - float(rows[0])) * frame.height / size.height if len(rows) else 0.0


def find_frame(head: HeadMeasures, rules: FramingRules, aspect: float, photo: Size) -> RotatedRect:
    """The crop of width : height = `aspect` that fits the rules best, level with the eyes; `photo` is the photo's size.

    Where the rules allow several, head and eyes come near the middle of their ranges and the crop does not reach below the
    photo; where the rules contradict each other for this head, the violation is minimal.
    """
    best = min(_candidate_frames(head, rules, photo), key=lambda one: one[0])
    _, height, line = best
    angle = math.radians(head.roll)
    down = np.array([-math.sin(angle), math.cos(angle)])
    centre = np.array(head.eyes) + down * height * (line - 0.5)
    return RotatedRect((float(centre[0]), float(centre[1])), height * aspect, height, head.roll)


def _candidate_frames(head: HeadMeasures, rules: FramingRules, photo: Size) -> Iterator[tuple[float, float, float]]:
    """Cost, height in pixels, and eye line over the lower edge, of the crops to choose from."""
    tall = head.top(rules.crown) + head.chin
    low, high = rules.head.low or 0.4, rules.head.high or 0.8
    lines = np.linspace(*_range_or(rules.eyes, (0.35, 0.75)), 41)
    angle = math.radians(head.roll)
    for share, line in product(np.linspace(low, high, 25), lines):
        height = tall / share
        frame = RotatedRect(head.eyes, height, height, head.roll)
        found = frame_measures(head, frame, float(line), rules.crown)
        cost = 60 * sum(
            span.beyond(found[name])
            for name, span in (("head", rules.head), ("eyes", rules.eyes), ("top", rules.top), ("below", rules.below))
        )
        cost += 30 * rules.breadth.beyond(found["breadth"])
        room = 1 - float(line) - head.hair / height
        cost += 60 * max(HEADROOM[0] - room, 0) if rules.top == Range() else 60 * max(-room, 0)
        middle = (lines[0] + lines[-1]) / 2 if rules.eyes != Range() else line
        cost += abs(float(share) - (low + high) / 2) + 0.35 * abs(float(line - middle))
        cost += (0.35 if rules.eyes != Range() else 0.7) * abs(room - HEADROOM[1])
        foot = head.eyes[1] + math.cos(angle) * height * float(line)
        cost += 6 * max(foot - photo.height, 0) / height
        yield float(cost), float(height), float(line)


def _range_or(span: Range, otherwise: tuple[float, float]) -> tuple[float, float]:
    return otherwise[0] if span.low is None else span.low, otherwise[1] if span.high is None else span.high


def frame_measures(head: HeadMeasures, frame: RotatedRect, line: float, crown: Crown) -> dict[str, float]:
    """The lengths that rules limit, as shares of the height; `line` is the eyes' height over the lower edge."""
    height = frame.height
    return {
        "head": (head.top(crown) + head.chin) / height,
        "eyes": line,
        "top": 1 - line - head.top(crown) / height,
        "below": line - head.chin / height,
        "breadth": head.breadth / height,
    }


def eye_line(head: HeadMeasures, frame: RotatedRect) -> float:
    """Height of the eyes over the lower edge of a crop, as a share of its height."""
    angle = math.radians(frame.roll)
    down = np.array([-math.sin(angle), math.cos(angle)])
    return 0.5 - float((np.array(head.eyes) - frame.centre) @ down) / frame.height


def share_missing(person: Mask, frame: RotatedRect) -> float:
    """Share of the crop, 0..1, in which the person would continue beyond the photo's edge."""
    size = Size(max(16, round(240 * frame.width / frame.height)), 240)
    matrix = frame.matrix_to(size)
    known = np.ones(person.shape, np.float32)
    visible = cv2.warpAffine(person, matrix, (size.width, size.height), borderMode=cv2.BORDER_REPLICATE) > 0.3
    inside = cv2.warpAffine(known, matrix, (size.width, size.height), borderMode=cv2.BORDER_CONSTANT) > 0.5
    return float((visible & ~inside).mean())


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
}
UNITS: Mapping[str, str] = {
    "people": "faces", "head_whole": "px", "yaw": "°", "pitch": "°", "roll": "°", "eyes_open": "height/width",
    "mouth_open": "height/width", "smile": "rise/width", "eye_distance": "px", "sharpness": "0..1", "light": "0..255",
    "glare": "share",
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
    return tuple(check_rule(name, value, LIMITS[name], UNITS[name], TIPS[name]) for name, value in found.items())


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
