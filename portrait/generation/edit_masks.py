"""Masks of edits: outlines filled, painted masks traced into outlines, and masks of another size than the picture."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Mask
from portrait.errors import UserError

MAX_CORNERS = 2000
"""Corners of all polygons of an area together."""
MAX_OUTLINES, MAX_OUTLINE_CORNERS = 20, 500
"""Polygons of an area, and corners of one, as requests to the API may have them."""
Outline: TypeAlias = list[list[float]]
"""Corners x and y of a polygon, as shares of width and height."""


def polygon_mask(area: Sequence[Sequence[Sequence[float]]], width: int, height: int) -> Mask:
    """A mask of filled polygons, whose corners are shares of width and height; raises `UserError` (`bad_mask`)."""
    if sum(len(each) for each in area) > MAX_CORNERS or any(len(each) < 3 for each in area):
        raise UserError("bad_mask", f"An outline has at least 3 corners, and all together at most {MAX_CORNERS}.")
    mask = np.zeros((height, width), np.uint8)
    for outline in area:
        corners = np.round(np.array(outline, np.float64).clip(0, 1) * (width, height)).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1)
    return mask.astype(np.float32)


def trace_mask(mask: Mask, max_outlines: int = MAX_OUTLINES, max_corners: int = MAX_OUTLINE_CORNERS) -> list[Outline]:
    """The outlines of a mask's white areas, whose corners are shares of width and height: `polygon_mask` fills them again.

    An outline with holes goes along a line to each hole, around it and back. Where there are more outlines or corners than may
    be, the smallest areas are left out and corners are rounded. Empty for an empty mask.
    """
    height, width = mask.shape
    found, tree = cv2.findContours((mask >= 0.5).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    # The parent of each contour is -1 for outer ones.
    parents = [-1 if tree is None else int(tree[0][at][3]) for at in range(len(found))]
    outer = [at for at, parent in enumerate(parents) if parent < 0]
    largest = sorted(outer, key=lambda at: -cv2.contourArea(found[at]))[:max_outlines]
    outlines: list[Outline] = []
    for at in largest:
        holes = [found[hole] for hole, parent in enumerate(parents) if parent == at]
        corners = _simplified([found[at], *holes], min(max_corners, MAX_CORNERS // max(len(largest), 1)))
        if len(corners) >= 3:
            outlines.append([[round(x / width, 4), round(y / height, 4)] for x, y in corners])
    return outlines


def _simplified(contours: Sequence[NDArray[Any]], most: int) -> list[tuple[float, float]]:
    """One outline of a contour and its holes with at most `most` corners: the first is the outer one."""
    rounding = 1.0
    while True:
        simple = [cv2.approxPolyDP(each, rounding, True)[:, 0, :] for each in contours]
        simple = [simple[0], *(each for each in simple[1:] if len(each) >= 3)]
        if sum(len(each) + 2 for each in simple) <= most:
            return _joined(simple)
        rounding *= 1.5


def _joined(contours: Sequence[NDArray[Any]]) -> list[tuple[float, float]]:
    """The corners of a contour, going to each of its holes from its nearest corner and back."""
    corners = [(float(x), float(y)) for x, y in contours[0]]
    for hole in contours[1:]:
        away = np.linalg.norm(np.array(corners)[:, None] - hole[None], axis=2)
        start, end = (int(each) for each in np.unravel_index(int(away.argmin()), away.shape))
        around = [(float(x), float(y)) for x, y in np.roll(hole, -end, axis=0)]
        corners[start : start + 1] = [corners[start], *around, around[0], corners[start]]
    return corners


def fit_mask(mask: Mask, width: int, height: int) -> Mask:
    """A mask resized to the picture; raises `UserError` (`bad_mask`) for a mask of another aspect ratio."""
    tall, wide = mask.shape
    if abs(wide * height - tall * width) > max(wide * height, tall * width) / 50:
        raise UserError(
            "bad_mask", f"The mask has {wide}×{tall} pixels and another shape than the picture, {width}×{height}."
        )
    if (wide, tall) == (width, height):
        return mask
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
