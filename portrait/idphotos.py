"""ID photos: measures of the head, the crop that fits a preset's rules best, and checks of the photo itself.

Nothing here changes a face. Lengths of a head are pixels of the photo along the head's own axis, from the line of the eyes;
lengths in a picture are shares of its height, horizontal ones too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Mask, Points, Size
from portrait.errors import EngineError
from portrait.faces.geometry import RotatedRect
from portrait.faces.mesh import CHIN, FACE_SIDES
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
MAX_MISSING_SHARE = 0.002
"""Share of the picture in which the person may be missing, where the photo's edge is repeated."""
EDGE_REPEAT = 0.01
"""Share of the height over which the photo's edge may be repeated: more would show as streaks."""
NOTICED = 1e-4
"""Share of the picture in which the person may be missing beyond that: more is seen as a slanted corner."""
EYE_LINE = (0.45, 0.75)
"""Height of the eyes over the lower edge in any frame that is taken because of the photo's border: heads do not sink."""
LEAST_REACH = 0.35
"""How far the person must reach to either side of the face's middle at the lower edge, over the face's breadth: half a neck."""
TOUCH = 0.12
"""Length over which the person must touch the photo's border to be cut by it, over the face's breadth: single locks may."""
SIDE_REACH = 1.2
"""How far hair reaches to either side of the face's middle, over the face's breadth; what is further away is none."""
HAIR_DEPTH = 0.6
"""How far below the eyes hair beside the face is part of the head, over the distance to the chin: to the mouth."""
SURE = 0.03
"""Distance from a silhouette's edge, over the face's breadth, from which it is believed."""
OUTLINE_HEIGHT, OUTLINE_HEAD = 240, 180
"""Height in pixels of the small pictures of frames that are tried, and of the head in the matte that they are taken from."""
TILTS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
"""Degrees of the head's roll that a frame may leave, the best first: up to the 5° of ISO/IEC 19794-5, where levelling all of
it would show the photo's slanted border."""


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


TRAVEL = FramingRules(Range(31.5 / 45, 36 / 45), "skull", Range(0.5, 0.7)), 35 / 45
"""The frame of ICAO's Doc 9303, of which most travel documents have theirs: its rules, and width over height."""


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
    _, _, height, line = min(_candidate_frames(head, rules, photo, head.roll), key=lambda one: one[0])
    return _frame_at(head, aspect, height, line, head.roll)


def _frame_at(head: HeadMeasures, aspect: float, height: float, line: float, roll: float) -> RotatedRect:
    """The crop with the eyes in its middle, `line` of its height above the lower edge."""
    angle = math.radians(roll)
    down = np.array([-math.sin(angle), math.cos(angle)])
    centre = np.array(head.eyes) + down * height * (line - 0.5)
    return RotatedRect((float(centre[0]), float(centre[1])), height * aspect, height, roll)


def _candidate_frames(
    head: HeadMeasures, rules: FramingRules, photo: Size, roll: float
) -> list[tuple[float, float, float, float]]:
    """Cost, its part for broken rules, height in pixels, and eye line over the lower edge, of the crops to choose from."""
    tall = head.top(rules.crown) + head.chin
    low, high = rules.head.low or 0.4, rules.head.high or 0.8
    lines = np.linspace(*_range_or(rules.eyes, (0.35, 0.75)), 41)
    share, line = (each.ravel() for each in np.meshgrid(np.linspace(low, high, 25), lines, indexing="ij"))
    height = tall / share
    top = 1 - line - head.top(rules.crown) / height
    measured = (
        (tall / height, rules.head),
        (line, rules.eyes),
        (top, rules.top),
        (line - head.chin / height, rules.below),
    )
    broken = 60 * sum(_beyond(span, values) for values, span in measured)
    broken += 30 * _beyond(rules.breadth, head.breadth / height)
    room = 1 - line - head.hair / height
    cost = broken + 60 * np.maximum((HEADROOM[0] if rules.top == Range() else 0.0) - room, 0)
    middle = (lines[0] + lines[-1]) / 2 if rules.eyes != Range() else line
    cost += np.abs(share - (low + high) / 2) + 0.35 * np.abs(line - middle)
    cost += (0.35 if rules.eyes != Range() else 0.7) * np.abs(room - HEADROOM[1])
    foot = head.eyes[1] + math.cos(math.radians(roll)) * height * line
    cost += 6 * np.maximum(foot - photo.height, 0) / height
    columns = (cost, broken + 60 * np.maximum(-room, 0), height, line)
    return list(zip(*(each.tolist() for each in columns), strict=True))


def _beyond(span: Range, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`Range.beyond` of many values."""
    edge = EDGE * (span.high - span.low) if span.low is not None and span.high is not None else 0.0
    low = -math.inf if span.low is None else span.low + edge
    high = math.inf if span.high is None else span.high - edge
    return np.maximum(np.maximum(low - values, values - high), 0.0)


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


def serves_id_photo(silhouette: Mask, face: Face) -> bool:
    """Whether an ID photo can be made of a photo: head, hair and both shoulders are there, down to the lower edge.

    `silhouette` is a rough mask of the person, as large as the photo; the frame is that of most travel documents (`TRAVEL`).
    Wider or lower frames, such as that of the United States, may still be refused.
    """
    if face.mesh is None:
        return False
    head = measure_head(silhouette, face)
    return not is_head_cut(silhouette, face, head) and find_covered_frame(silhouette, head, *TRAVEL) is not None


def is_head_cut(person: Mask, face: Face, head: HeadMeasures) -> bool:
    """Whether the photo's border cuts the face, or the hair above and beside it."""
    (height, width), box = person.shape, face.box
    if min(box.left, box.top) < 0 or box.right > width or box.bottom > height:
        return True
    for edge, start, step in (
        (person[:2].max(axis=0), (0, 0), (1, 0)),
        (person[:, :2].max(axis=1), (0, 0), (0, 1)),
        (person[:, -2:].max(axis=1), (width - 1, 0), (0, 1)),
    ):
        touching = np.flatnonzero(edge > 0.5)[:, None] * np.array(step) + np.array(start)
        if int(_in_head(touching[:, 0], touching[:, 1], head).sum()) >= TOUCH * head.breadth:
            return True
    return False


def share_lost(person: Mask, silhouette: Mask, head: HeadMeasures) -> float:
    """Share of the head, 0..1, that is surely there in a silhouette and is missing in the matte: a hole in it."""
    side = 2 * round(SURE * head.breadth) + 1
    sure = cv2.erode((silhouette > 0.9).astype(np.uint8), np.ones((side, side), np.uint8), borderValue=1) > 0
    rows, columns = np.nonzero(sure)
    inside = _in_head(columns, rows, head)
    return float((person[rows[inside], columns[inside]] < 0.5).mean()) if inside.any() else 0.0


def _in_head(columns: NDArray[Any], rows: NDArray[Any], head: HeadMeasures) -> NDArray[np.bool_]:
    """Which pixels lie where head and hair may be: above the mouth, and not too far beside the face."""
    angle = math.radians(head.roll)
    x, y = columns - head.eyes[0], rows - head.eyes[1]
    across = x * math.cos(angle) + y * math.sin(angle)
    down = y * math.cos(angle) - x * math.sin(angle)
    return (np.abs(across) < SIDE_REACH * head.breadth) & (down < HAIR_DEPTH * head.chin)


def find_covered_frame(person: Mask, head: HeadMeasures, rules: FramingRules, aspect: float) -> RotatedRect | None:
    """The best frame in which nothing of the person is cut by the photo's border and the lower edge is filled.

    A worse one is taken before one that breaks more of the rules, and all of the head's roll is levelled unless that shows
    the border (`TILTS`). None where there is no such frame.
    """
    factor = min(1.0, OUTLINE_HEAD / (head.hair + head.chin))
    small = np.asarray(cv2.resize(person, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.float32)
    photo = Size(person.shape[1], person.shape[0])
    for tilt in TILTS:
        roll = math.copysign(max(abs(head.roll) - tilt, 0.0), head.roll)
        found = list(_candidate_frames(head, rules, photo, roll))
        least = min(broken for _, broken, *_ in found)
        best = [each for each in found if each[1] <= least + 1e-9 and EYE_LINE[0] <= each[3] <= EYE_LINE[1]]
        best.sort(key=lambda one: one[0])
        frames = [_frame_at(head, aspect, height, line, roll).scale(factor) for _, _, height, line in best]
        for at in np.flatnonzero(_covers_borders(small, frames)) if frames else ():
            if _is_covered(small, head.breadth * factor, frames[at]):
                return _frame_at(head, aspect, *best[at][2:], roll)
        if tilt >= abs(head.roll):
            break
    return None


def _covers_borders(person: Mask, frames: Sequence[RotatedRect]) -> NDArray[np.bool_]:
    """Which frames show nothing of the person beyond the photo along a line 2 % inside of their borders: a quick look."""
    ends = np.linspace(-0.48, 0.48, 41)
    line = np.concatenate([[(end, side), (side, end)] for end in ends for side in (-0.48, 0.48)])
    sizes = np.array([(frame.width, frame.height) for frame in frames])
    angle = math.radians(frames[0].roll)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    points = (line * sizes[:, None]) @ turn + np.array([frame.centre for frame in frames])[:, None]
    inside = np.clip(points.round().astype(int), 0, (person.shape[1] - 1, person.shape[0] - 1))
    beyond = (np.abs(points - inside) > 1).any(axis=2)
    missing = beyond & (person[inside[..., 1], inside[..., 0]] > 0.3)
    return np.asarray(~missing.any(axis=1), np.bool_)


def _is_covered(person: Mask, breadth: float, frame: RotatedRect) -> bool:
    """Whether the photo shows all of the person in a frame, and the person fills the lower edge on both sides of the chin."""
    reach = LEAST_REACH * breadth
    angle = math.radians(frame.roll)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    ends = np.array([[-reach, frame.height / 2], [reach, frame.height / 2]]) @ turn + frame.centre
    if (ends[:, 1] > person.shape[0] + MAX_MISSING_SHARE * frame.height).any():
        return False
    visible, inside = _outline(person, frame)
    side = 2 * round(EDGE_REPEAT * OUTLINE_HEIGHT) + 1
    repeated = cv2.dilate(inside.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    if float((visible & ~repeated).mean()) > NOTICED or float((visible & ~inside).mean()) > MAX_MISSING_SHARE / 2:
        return False
    columns = np.flatnonzero(visible[-1])
    middle, reach = visible.shape[1] / 2, reach / frame.height * OUTLINE_HEIGHT
    return bool(len(columns)) and bool(columns[0] <= middle - reach and columns[-1] >= middle + reach)


def share_missing(person: Mask, frame: RotatedRect) -> float:
    """Share of the crop, 0..1, in which the person would continue beyond the photo's edge."""
    visible, inside = _outline(person, frame)
    return float((visible & ~inside).mean())


def _outline(person: Mask, frame: RotatedRect) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The person in a small picture of a frame, continued beyond the photo's edge; and where the photo is."""
    size = Size(max(16, round(OUTLINE_HEIGHT * frame.width / frame.height)), OUTLINE_HEIGHT)
    matrix, shape = frame.matrix_to(size), (size.width, size.height)
    visible = cv2.warpAffine(person, matrix, shape, borderMode=cv2.BORDER_REPLICATE) > 0.3
    inside = cv2.warpAffine(np.ones_like(person), matrix, shape, borderMode=cv2.BORDER_CONSTANT) > 0.5
    return visible, inside
