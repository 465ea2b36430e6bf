"""Framings of people whom the photo cuts: crops in which the photo's border is the picture's border wherever it cuts them.

For each tilt of the crop the person is levelled on a small matte once; thousands of crops are then checked by sums over it.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Mask, Points
from portrait.faces.geometry import Affine, RotatedRect, bounding_box, transform_points
from portrait.types import Box, Face

Numbers: TypeAlias = NDArray[np.float64]
"""One value for each crop that is tried."""

UNIT = 40
"""Height of the face in pixels of the matte on which crops are tried."""
VISIBLE = 0.25
"""Opacity from which the person counts as there: less is a trace of hair whose cut nobody sees."""
SPOILED = 0.02
"""Width of the photo's border that is left away, in face heights: its pixels and the matte's are often spoiled."""
LEVEL = 6.0
"""Degrees of tilt of a head that look natural."""
LINES = np.linspace(0.24, 0.58, 18)
"""Distances of the eyes from the upper edge that are tried, over the picture's height."""
SHIFTS = np.linspace(-0.24, 0.24, 17)
"""Distances of the head from the middle that are tried, over the picture's width."""
HEADROOM = 0.045
"""Least space above the hair over the picture's height."""
TANGENT = 0.035
"""Least distance of the picture's border from the top of the hair and from the chin, over the picture's height: closer, the
border seems to touch them."""
EYE_ROOM, MOUTH_ROOM = 0.12, 0.14
"""Least distance of the picture's border from the eyes' and the mouth's centres, in face heights."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a composition wants to be: heights are shares of the picture's."""

    share: float
    """Height of the face, forehead to chin."""
    least: float
    most: float
    """Bounds of the share."""
    eye_line: float
    """Distance of the eyes from the upper edge."""
    bottom: float
    """Least width of the person at the lower edge in face heights, unless it takes `FILLED` of the picture's width."""
    cropped: float
    """Cost of hair that the upper edge crops."""


FILLED = 0.7
"""Share of the picture's width that a person may fill at the lower edge in place of `Rule.bottom`."""


@dataclass(frozen=True, slots=True)
class FoundCrop:
    """A crop of the photo with its cost, the distance from the rules: 0 keeps all, 1 is still pleasing."""

    frame: RotatedRect
    cost: float
    eye_line: float
    face_share: float


@dataclass(frozen=True, slots=True, eq=False)
class _LevelledPerson:
    """The person on a small levelled canvas: the matte turned until the crop's sides are rows and columns."""

    matrix: Affine
    """From the photo to the canvas."""
    roll: float
    """Degrees by which the crop is turned in the photo."""
    tilt: float
    """Degrees by which the head leans in it."""
    cut: NDArray[np.int32]
    """Integral of the pixels where the person would go on and the photo has ended."""
    rows: NDArray[np.int32]
    """Running sums along the rows of the pixels that show the person."""
    box: Box
    eyes: Points
    mouth: Points
    hair: Box
    """Hair and head above the chin, as far as the photo shows them."""

    @property
    def middle(self) -> float:
        """Column of the head's middle: between eyes and box, as the eyes alone drift when the head is turned."""
        return (float(self.eyes[:, 0].mean()) + self.box.centre[0]) / 2


@dataclass(frozen=True, slots=True, eq=False)
class _Crops:
    """The crops that are tried, by their edges in pixels of the canvas."""

    left: Numbers
    top: Numbers
    right: Numbers
    bottom: Numbers
    share: Numbers
    line: Numbers
    shift: Numbers

    @property
    def height(self) -> Numbers:
        """Heights in pixels of the canvas."""
        return self.bottom - self.top


def search_crop(person: Mask, face: Face, aspect: float, rule: Rule, tightness: float = 0.0) -> FoundCrop | None:
    """The crop of width : height = `aspect` nearest to a rule in which nothing of the person ends inside of the picture.

    `person` is the matte in the photo. `tightness` enlarges the head: 0.1 makes it a tenth larger than the rule says.
    None where each crop shows the photo's end, leaves the lower edge empty or cuts eyes or mouth.
    """
    best: FoundCrop | None = None
    for roll in _rolls(face.pose.roll):
        levelled = _level(person, face, roll, _reach(aspect, rule))
        crops = _crops(levelled, aspect, rule)
        cost = _cost(levelled, crops, rule, rule.share * (1 + tightness))
        cost[~_holds(levelled, crops, rule)] = np.inf
        index = int(cost.argmin())
        if np.isfinite(cost[index]) and (best is None or cost[index] < best.cost):
            best = _found(levelled, crops, index, float(cost[index]))
    return best


def _rolls(head: float) -> list[float]:
    """Tilts of the crop to try, from a levelled head down to the photo's own, in degrees."""
    level = head - LEVEL * math.tanh(head / LEVEL)
    return [level * (1 - step / 4) for step in range(5)] if abs(level) > 2 else [level, 0.0]


def _reach(aspect: float, rule: Rule) -> tuple[float, float]:
    """How far a crop can reach from the eyes, to the sides and down, in pixels of the canvas."""
    height = UNIT / rule.least
    return height * aspect * (0.5 + float(SHIFTS[-1])), height * (1 - float(LINES[0]))


def _level(person: Mask, face: Face, roll: float, reach: tuple[float, float]) -> _LevelledPerson:
    """The person levelled by `roll` degrees, on a canvas that holds what crops within `reach` show of the photo."""
    points = face.landmarks[:, :2] if face.mesh is None else face.mesh[:, :2]
    tall = _height_along(points if face.mesh is not None else _corners(face.box), face.pose.roll)
    scale, angle = UNIT / max(tall, 1.0), math.radians(roll)
    turn = scale * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    eyes = face.landmarks[:2, :2].mean(axis=0).astype(np.float64)
    height, width = person.shape
    photo = (np.array([[0, 0], [width, 0], [width, height], [0, height]]) - eyes) @ turn.T
    low, high = photo.min(axis=0) - UNIT / 4, photo.max(axis=0) + UNIT / 4
    low = np.floor(np.maximum(low, [-reach[0], -reach[1]]))
    high = np.ceil(np.minimum(high, [reach[0], reach[1]]))
    matrix = np.hstack([turn, (-turn @ eyes - low)[:, None]])
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    visible, known = _warp(person, matrix, size, max(1, round(SPOILED * tall)), scale)
    spread = transform_points(points.astype(np.float32), matrix)
    box = bounding_box(spread if face.mesh is not None else transform_points(_corners(face.box), matrix))
    landmarks = transform_points(face.landmarks[:, :2], matrix)
    return _LevelledPerson(
        matrix,
        roll,
        face.pose.roll - roll,
        np.asarray(cv2.integral((visible & ~known).astype(np.uint8)), np.int32),
        np.pad(np.cumsum(visible & known, axis=1, dtype=np.int32), ((0, 0), (1, 0))),
        box,
        landmarks[:2],
        landmarks[3:].mean(axis=0, keepdims=True),
        _head(visible & known, box),
    )


def _warp(
    person: Mask, matrix: Affine, size: tuple[int, int], margin: int, scale: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the person is on the canvas or would go on beyond the photo, and what of the canvas the photo holds."""
    inner = person[margin:-margin, margin:-margin] if min(person.shape) > 2 * margin + 1 else person
    shrink = min(1.0, scale)
    small = np.asarray(cv2.resize(inner, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.float32)
    across, down = inner.shape[1] / small.shape[1], inner.shape[0] / small.shape[0]
    place = np.array([[across, 0, (across - 1) / 2 + margin], [0, down, (down - 1) / 2 + margin], [0, 0, 1]])
    moved = matrix @ place
    visible = cv2.warpAffine(small, moved, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) > VISIBLE
    known = cv2.warpAffine(np.ones_like(small), moved, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(visible), np.asarray(known > 0.5)


def _corners(box: Box) -> Points:
    return np.array(
        [[box.left, box.top], [box.right, box.top], [box.right, box.bottom], [box.left, box.bottom]], np.float32
    )


def _height_along(points: Points, roll: float) -> float:
    """Extent of points along the axis of a head that leans by `roll` degrees."""
    angle = math.radians(roll)
    along = points[:, :2] @ np.array([-math.sin(angle), math.cos(angle)])
    return float(np.ptp(along))


def _head(person: NDArray[np.bool_], box: Box) -> Box:
    """The head with its hair: the person above the mouth, not further from the face than its width."""
    left, right = (int(np.clip(box.centre[0] + side * box.width, 0, person.shape[1])) for side in (-1.0, 1.0))
    part = person[: max(1, round(box.top + 0.7 * box.height)), left:right]
    middle = part[:, round(0.2 * part.shape[1]) : max(1, round(0.8 * part.shape[1]))]
    rows, columns = np.flatnonzero(middle.any(axis=1)), np.flatnonzero(part.any(axis=0))
    if not len(rows):
        return box
    return Box(float(left + columns[0]), float(rows[0]), float(left + columns[-1] + 1), box.bottom)


def _crops(person: _LevelledPerson, aspect: float, rule: Rule) -> _Crops:
    """All crops of a rule's shares, at all eye lines and distances from the middle."""
    shares = np.geomspace(rule.least, rule.most, 16)
    share, line, shift = (each.ravel() for each in np.meshgrid(shares, LINES, SHIFTS, indexing="ij"))
    height = UNIT / share
    width = height * aspect
    centre = person.middle - shift * width
    top = float(person.eyes[:, 1].mean()) - line * height
    return _Crops(centre - width / 2, top, centre + width / 2, top + height, share, line, shift)


def _holds(person: _LevelledPerson, crops: _Crops, rule: Rule) -> NDArray[np.bool_]:
    """Which crops are whole: no end of the photo in the person, a filled lower edge, eyes and mouth inside."""
    rows, columns = person.cut.shape[0] - 1, person.cut.shape[1] - 1
    left, right = (np.clip(edge, 0, columns).astype(int) for edge in (np.floor(crops.left), np.ceil(crops.right)))
    top, bottom = (np.clip(edge, 0, rows).astype(int) for edge in (np.floor(crops.top), np.ceil(crops.bottom)))
    cut = person.cut
    whole = cut[bottom, right] - cut[top, right] - cut[bottom, left] + cut[top, left] == 0
    last = np.clip(np.floor(crops.bottom), 1, rows).astype(int) - 1
    width = person.rows[last, right] - person.rows[last, left]
    filled = width >= np.minimum(rule.bottom * UNIT, FILLED * (crops.right - crops.left))
    room = EYE_ROOM * UNIT
    seen = (person.eyes[:, 0].min() - crops.left > room) & (crops.right - person.eyes[:, 0].max() > room)
    seen &= (person.eyes[:, 1].min() - crops.top > room) & (
        crops.bottom - float(person.mouth[0, 1]) > MOUTH_ROOM * UNIT
    )
    return np.asarray(whole & filled & seen & (crops.bottom <= rows))


def _cost(person: _LevelledPerson, crops: _Crops, rule: Rule, wanted: float) -> Numbers:
    """Distance of each crop from the rules."""
    height, box = crops.height, person.box
    low = crops.line - rule.eye_line
    cost = 2.0 * np.abs(np.log(crops.share / wanted)) + 4.0 * np.abs(low)
    # With eyes below the middle a head sinks out of the picture; high ones harm less.
    cost += 20.0 * np.maximum(low - 0.07, 0) + 8.0 * np.maximum(-low - 0.14, 0)
    # A head a little beside the middle is not noticed, one clearly beside it is: before that, come closer.
    cost += 2.5 * np.abs(crops.shift) + 50.0 * crops.shift**2
    cost += 0.06 * max(abs(person.tilt) - LEVEL, 0)
    above = (person.hair.top - crops.top) / height
    cost += np.where(
        above > 0, 12 * np.maximum(HEADROOM - above, 0), rule.cropped + 10 * np.maximum(TANGENT + above, 0)
    )
    # The forehead and the chin are cut only where the photo does it; cheeks may be, a little.
    cost += 8 * np.maximum((crops.top - box.top) / height, 0)
    below = (crops.bottom - box.bottom) / height
    cost += np.where(below > 0, 10 * np.maximum(TANGENT - below, 0), 0.5 - 8 * below)
    for gap in (person.hair.left - crops.left, crops.right - person.hair.right):
        # Hair keeps away from a side or is clearly cut by it.
        cost += 8 * np.maximum(TANGENT - np.abs(gap / height), 0)
    beside = np.maximum(crops.left - box.left, 0) + np.maximum(box.right - crops.right, 0)
    return np.asarray(cost + 4 * beside / (crops.right - crops.left), np.float64)


def _found(person: _LevelledPerson, crops: _Crops, index: int, cost: float) -> FoundCrop:
    """One crop as a rectangle in the photo."""
    middle = np.array([crops.left[index] + crops.right[index], crops.top[index] + crops.bottom[index]]) / 2
    turn, shift = person.matrix[:, :2], person.matrix[:, 2]
    # Edges lie between pixels, the canvas counts pixel centres: half a pixel apart.
    centre = np.linalg.solve(turn, middle - shift)
    scale = math.sqrt(abs(float(np.linalg.det(turn))))
    width, height = (crops.right - crops.left)[index] / scale, crops.height[index] / scale
    frame = RotatedRect((float(centre[0]), float(centre[1])), float(width), float(height), person.roll)
    return FoundCrop(frame, cost, float(crops.line[index]), float(crops.share[index]))
