"""Framing of studio portraits: eye line, head height, headroom, and no visible edge of the photo.

Framings near the rules are tried on a small matte of the person; those in which the photo's edge cuts through the person are
rejected, and the one nearest to the rules is chosen.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Mask, Size
from portrait.faces.geometry import RotatedRect, scaling_matrix, transform_face
from portrait.studio.crop_search import Rule, search_crop
from portrait.types import Composition, Face

EYE_LINE = 0.42
"""Distance of the eyes from the upper edge over the picture's height: between the third and the middle, as in studios."""
FACE_SHARE = 0.30
"""Height of the face (forehead to chin) over the picture's: head and shoulders with the upper chest."""
TIGHTEST = 0.43
"""Largest face share that is tried to hide the photo's lower edge: a close portrait with the beginning of shoulders."""
TILT = 6.0
"""Largest remaining tilt of the head in degrees: a little is natural, more looks like a tilted camera."""
HEADROOM = 0.045
"""Least space above the hair over the picture's height."""
OUTLINE_HEIGHT = 96
"""Height in pixels of the matte on which framings are tried."""


RULES: dict[Composition, Rule] = {
    "half_figure": Rule(0.19, 0.165, 0.23, 0.35, 1.6, 1.5),
    "head_and_shoulders": Rule(FACE_SHARE, 0.27, 0.43, EYE_LINE, 0.97, 1.0),
    "close": Rule(0.45, 0.40, 0.60, 0.43, 0.5, 0.35),
    "very_close": Rule(0.60, 0.54, 1.3, 0.42, 0.5, 0.1),
}
"""By composition, the widest first."""
USUAL: tuple[Composition, ...] = ("head_and_shoulders", "close", "very_close")
"""Compositions of a style that names none, the preferred one first; the half figure is for styles that ask for it."""
PLEASING, BEARABLE = 1.0, 4.0
"""Cost up to which a composition is taken before a closer one is tried, and up to which it is taken at all."""


@dataclass(frozen=True, slots=True)
class Framing:
    """A crop of the photo, and where it puts the face."""

    frame: RotatedRect
    eye_line: float
    face_share: float
    composition: Composition = "head_and_shoulders"


def levelling_angle(roll: float) -> float:
    """Roll of the crop in degrees for a head of this roll: small tilts remain almost fully, of large ones `TILT` remains."""
    return roll - TILT * math.tanh(roll / TILT)


def compositions(silhouette: Mask, face: Face, size: Size) -> tuple[Composition, ...]:
    """Compositions, the widest first, that a photo can give in a picture of `size`; none where no portrait can be made.

    `silhouette` is a rough mask of the person in the photo, as large as it; see `portrait.ports.Matter.silhouette`.
    """
    return tuple(name for name in RULES if compose(silhouette, face, size, (name,)) is not None)


def compose(
    person: Mask, face: Face, size: Size, suited: Sequence[Composition] = USUAL, tightness: float = 0.0
) -> Framing | None:
    """The framing of `person` (its matte in the photo) in the first composition of `suited` that pleases.

    Where none does, the best that holds at all; None where the photo cuts too much for any. `tightness` enlarges the head:
    0.1 makes it a tenth larger than the rule.
    """
    best: tuple[float, Framing] | None = None
    for name in suited:
        usual = frame_portrait(person, face, size, tightness) if name == "head_and_shoulders" else None
        if usual is not None:
            return usual
        rule = _rule(name, size)
        found = search_crop(person, face, size.width / size.height, rule, tightness)
        if found is None:
            continue
        framing = Framing(found.frame, found.eye_line, found.face_share, name)
        if found.cost <= PLEASING:
            return framing
        if best is None or found.cost < best[0]:
            best = found.cost, framing
    return best[1] if best is not None and best[0] <= BEARABLE else None


def _rule(name: Composition, size: Size) -> Rule:
    """The rule of a composition; in narrow pictures the head is smaller, so that it has room at the sides."""
    narrow = min(1.0, size.width / size.height / 0.7)
    rule = RULES[name]
    return replace(rule, share=rule.share * narrow, least=rule.least * narrow, most=rule.most * narrow)


def frame_portrait(person: Mask, face: Face, size: Size, tightness: float = 0.0) -> Framing | None:
    """The framing of `person` (its matte in the photo) for a picture of `size`; None if all show the photo's edge.

    `tightness` enlarges the head: 0.1 makes it a tenth larger than the rule.
    """
    shrink = min(1.0, 40 / max(face.box.height, 1.0))
    small = np.asarray(cv2.resize(person, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.float32)
    near = transform_face(face, scaling_matrix(shrink))
    inside = _inside(small.shape, near)
    top = _top_of_head(small, near)
    wanted = FACE_SHARE * (1 + tightness) * min(1.0, size.width / size.height / 0.7)
    outline_size = Size(max(8, round(OUTLINE_HEIGHT * size.width / size.height)), OUTLINE_HEIGHT)
    tried = sorted(_candidates(near, outline_size, wanted, top), key=lambda one: one[0])
    best = next((framing for _, framing in tried if _covers_person(small, inside, framing, outline_size)), None)
    if best is None:
        return None
    frame = best.frame
    centre = ((frame.centre[0] + 0.5) / shrink - 0.5, (frame.centre[1] + 0.5) / shrink - 0.5)
    return Framing(
        RotatedRect(centre, frame.width / shrink, frame.height / shrink, frame.roll),
        best.eye_line,
        best.face_share,
    )


def _candidates(face: Face, outline_size: Size, wanted: float, top: float) -> Iterator[tuple[float, Framing]]:
    """Framings to try, each with its cost: the distance from the rules."""
    roll = levelling_angle(face.pose.roll)
    angle = math.radians(roll)
    across = np.array([math.cos(angle), math.sin(angle)])
    down = np.array([-math.sin(angle), math.cos(angle)])
    eyes = face.landmarks[:2, :2].mean(axis=0).astype(np.float64)
    # The head's middle is between the eyes and the middle of the box: the eyes alone drift when the head is turned.
    middle = eyes + across * float((np.array(face.box.centre) - eyes) @ across) / 2
    above = float((eyes - (eyes[0], top)) @ down)
    largest = max(TIGHTEST * wanted / FACE_SHARE, wanted)
    steps = (0.93 * wanted, *np.geomspace(wanted, largest, 8))
    for share, line, shift in product(steps, (0.34, 0.37, 0.40, 0.42, 0.44, 0.47, 0.5), (-0.08, -0.04, 0, 0.04, 0.08)):
        height = face.box.height / share
        width = height * outline_size.width / outline_size.height
        centre = middle + down * height * (0.5 - line) - across * width * shift
        headroom = line - above / height
        cost = 2.0 * abs(math.log(share / wanted)) + 4.0 * abs(line - EYE_LINE)
        # A head a little beside the middle is not noticed, one clearly beside it is: before that, come closer.
        cost += 2.5 * abs(shift) + 50.0 * shift**2
        cost += 12.0 * max(HEADROOM - headroom, 0)
        frame = RotatedRect((float(centre[0]), float(centre[1])), width, height, roll)
        yield cost, Framing(frame, line, float(share))


def _covers_person(person: Mask, inside: Mask, framing: Framing, outline_size: Size) -> bool:
    """Whether the photo covers the person in the crop, down to shoulders at its lower edge."""
    matrix = framing.frame.matrix_to(outline_size)
    size = (outline_size.width, outline_size.height)
    visible = cv2.warpAffine(person, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) > 0.3
    known = cv2.warpAffine(inside, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) > 0.5
    if bool((visible & ~known).any()):
        return False
    # A face is about 0.88 as wide as high; shoulders are wider, a neck is not.
    return int(visible[-1].sum()) >= min(framing.face_share * OUTLINE_HEIGHT * 0.88 * 1.1, 0.7 * outline_size.width)


def _inside(shape: tuple[int, ...], face: Face) -> Mask:
    """Mask of the photo without a narrow border, whose pixels are often spoiled."""
    inside = np.ones(shape, np.float32)
    margin = max(1, round(0.02 * face.box.height))
    for edge in (inside[:margin], inside[-margin:], inside[:, :margin], inside[:, -margin:]):
        edge[:] = 0
    return inside


def _top_of_head(person: Mask, face: Face) -> float:
    """Row of the highest hair above the face."""
    left, right = (max(0, round(face.box.centre[0] + side * face.box.width)) for side in (-0.6, 0.6))
    strip: NDArray[np.bool_] = person[: max(1, round(face.box.bottom)), left : max(left + 1, right)] > 0.5
    rows = np.flatnonzero(strip.any(axis=1))
    return float(rows[0]) if len(rows) else face.box.top
