"""Measures on a finished portrait whether the end of its selfie shows in it; knows nothing of how it was framed.

The person's opacity is read off two portraits before plain backdrops. The place of the selfie's border in the portrait is
found by laying the face in one over the face in the other.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.faces.alignment import estimate_similarity
from portrait.faces.geometry import Affine, transform_points
from portrait.types import Face

DARK, LIGHT = 20, 235
"""Levels of the two plain backdrops."""
SEEN = 0.3
"""Opacity from which an end of the person is seen."""


def plain(level: int, size: tuple[int, int]) -> Image:
    """A plain backdrop of `size` (width, height)."""
    return np.full((size[1], size[0], 3), level, np.uint8)


def opacity(before_dark: Image, before_light: Image) -> Mask:
    """The person's opacity, 0..1, from the same portrait before both plain backdrops."""
    through = (before_light.astype(np.float32) - before_dark).mean(axis=2) / (LIGHT - DARK)
    return np.clip(1 - through, 0, 1).astype(np.float32)


def selfie_in_portrait(selfie: Face, drawn: Face) -> Affine:
    """The map from the selfie to the portrait, by the meshes of the face found in both."""
    assert selfie.mesh is not None
    assert drawn.mesh is not None
    return estimate_similarity(selfie.mesh[:468, :2], drawn.mesh[:468, :2])


def faults(alpha: Mask, selfie_shape: tuple[int, ...], to_portrait: Affine, face_height: float) -> list[str]:
    """What shows in a portrait that its selfie ends; nothing when it is well framed. `face_height` is the selfie's, pixels."""
    found = [f"the person ends at the photo's {side}" for side in _ends(alpha, selfie_shape, to_portrait, face_height)]
    found += [f"a gap at the {side}" for side in _gaps(alpha)]
    if float((alpha[-1] > 0.5).mean()) < 0.25:
        found.append("the lower border is empty")
    length = longest_straight_edge(alpha)
    if length > MOST_STRAIGHT:
        found.append(f"a straight edge of {length:.2f} of the height")
    return found


def _ends(alpha: Mask, shape: tuple[int, ...], to_portrait: Affine, face_height: float) -> list[str]:
    """Sides of the photo at which the person stops inside of the portrait, or goes on beyond them."""
    height, width = shape[:2]
    along, inset = np.linspace(0, 1, 400), 0.012 * face_height
    found = []
    for side, start, end, inward in (
        ("top", (0, 0), (width, 0), (0, 1)),
        ("right", (width, 0), (width, height), (-1, 0)),
        ("bottom", (0, height), (width, height), (0, -1)),
        ("left", (0, 0), (0, height), (1, 0)),
    ):
        line = np.array(start) + along[:, None] * (np.array(end) - start)
        shown = _well_inside(transform_points(line.astype(np.float32), to_portrait), alpha.shape)
        for where, step in (("inside", inset), ("beyond", -inset)):
            points = transform_points((line + np.array(inward) * step).astype(np.float32), to_portrait)
            columns, rows = np.clip(points.round().astype(int), 0, (alpha.shape[1] - 1, alpha.shape[0] - 1)).T
            share = float((shown & (alpha[rows, columns] > SEEN)).mean())
            if share > 0.004:
                found.append(f"{side} ({where}: {share:.3f})")
    return found


def _well_inside(points: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether points lie inside of the portrait by more than what laying face over face may err."""
    margin = 0.0125 * shape[0]
    inside = (points >= margin).all(axis=1) & (points < (shape[1] - margin, shape[0] - margin)).all(axis=1)
    return np.asarray(inside, np.bool_)


def _gaps(alpha: Mask) -> list[str]:
    """Borders of the portrait from which the person is parted by a strip of one width, as nature parts nobody."""
    depth = max(3, round(0.03 * alpha.shape[0]))
    found = []
    for turn, side in enumerate(("top", "right", "bottom", "left")):
        strip = np.rot90(alpha, turn)[:depth] > 0.5
        width = np.where(strip.any(axis=0), strip.argmax(axis=0), -1)
        # Runs of places with the same distance to the border, which is neither nothing nor more than the strip.
        edges = np.flatnonzero(np.diff(width)) + 1
        runs = [run for run in np.split(width, edges) if run[0] > 0]
        if max((len(run) for run in runs), default=0) > 0.12 * len(width):
            found.append(side)
    return found


MOST_STRAIGHT = 0.25
"""Length of a straight edge of the person that nature may give, over the portrait's height."""


def longest_straight_edge(alpha: Mask) -> float:
    """Length of the longest straight piece of the person's outline inside the portrait, over the portrait's height."""
    height, width = alpha.shape
    outlines, _ = cv2.findContours((alpha > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = 0.0
    for outline in outlines:
        points = outline[:, 0].astype(np.float64)
        inner = ((points > 2) & (points < (width - 3, height - 3))).all(axis=1)
        for run in np.split(points, np.flatnonzero(~inner)):
            longest = max(longest, _longest_straight(run[1:], 0.7))
    return longest / height


def _longest_straight(points: NDArray[np.float64], tolerance: float) -> float:
    """Longest distance between two points of a curve between which it stays within `tolerance` of a straight line."""
    longest, end = 0.0, 2
    for start in range(len(points) - 2):
        end = max(end, start + 2)
        while end < len(points) and _deviation(points[start : end + 1]) <= tolerance:
            end += 1
        longest = max(longest, math.dist(points[start], points[min(end, len(points) - 1)]))
    return longest


def _deviation(points: NDArray[np.float64]) -> float:
    way = points[-1] - points[0]
    length = math.hypot(*way)
    if length < 1e-9:
        return math.inf
    off = (points - points[0]) @ np.array([-way[1], way[0]]) / length
    return float(np.abs(off).max())
