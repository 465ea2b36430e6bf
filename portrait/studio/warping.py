"""A person enlarged to a portrait's size: finely where the person is, coarsely where a backdrop will be."""

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.faces.geometry import Affine
from portrait.images.filters import rows_around

TRACE = 1 / 1024
"""Opacity below which nothing of a person is seen, a quarter of a level at most."""
ROWS = 32
"""Rows that are looked through for the person at a time."""
FRACTION, STEP = 1 << 10, 1 << 5
"""Parts of a pixel in which OpenCV adds up places, and in which it looks up the weights of a filter."""


def warp_person(front: Image, alpha: Mask, matrix: Affine, margin: int) -> Image:
    """The picture `front` mapped by `matrix` to the size of `alpha`, the person's mask there.

    Where the person is, and `margin` pixels around, it is what `cv2.warpAffine` gives with Lanczos' filter, to the bit; that
    takes ten times as long as the linear one, which draws the rest.
    """
    height, width = alpha.shape
    out = cv2.warpAffine(front, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    out = np.asarray(out, np.uint8)
    places = _Places(matrix, width)
    for top in range(0, height, ROWS):
        rows = slice(top, min(top + ROWS, height))
        around, _ = rows_around(rows, height, margin)
        columns = visible_columns(alpha[around], margin)
        if columns.start < columns.stop:
            found, weights = places.find(rows, columns)
            out[rows, columns] = cv2.remap(front, found, weights, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    return out


def visible_columns(alpha: Mask, margin: int = 0) -> slice:
    """The columns between which a person is seen, and `margin` more on each side; empty where nobody is."""
    found = np.flatnonzero(cv2.reduce(alpha, 0, cv2.REDUCE_MAX)[0] > TRACE)
    if not len(found):
        return slice(0, 0)
    return slice(max(0, int(found[0]) - margin), min(alpha.shape[1], int(found[-1]) + 1 + margin))


class _Places:
    """Where the pixels of a mapped picture come from, in the whole numbers that `cv2.warpAffine` computes with."""

    def __init__(self, matrix: Affine, width: int) -> None:
        (a, b, c), (d, e, f) = matrix
        scale = 1 / (a * e - b * d)
        self._across, self._down = (
            (along, other, -along * c - other * f)
            for along, other in ((e * scale, -b * scale), (-d * scale, a * scale))
        )
        columns = np.arange(width)
        self._columns = [np.rint(each[0] * columns * FRACTION).astype(np.int32) for each in (self._across, self._down)]

    def find(self, rows: slice, columns: slice) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
        """Whole pixels, x and y, and the numbers of the weights, as `cv2.remap` takes them."""
        down = np.arange(rows.start, rows.stop)
        x, y = (
            (self._round(each, down)[:, None] + along[columns]) >> 5
            for each, along in zip((self._across, self._down), self._columns, strict=True)
        )
        whole = cv2.merge([(x >> 5).astype(np.int16), (y >> 5).astype(np.int16)])
        return np.asarray(whole, np.int16), ((y & 31) * STEP + (x & 31)).astype(np.uint16)

    def _round(self, each: tuple[float, float, float], rows: NDArray[np.integer]) -> NDArray[np.int32]:
        return np.rint((each[1] * rows + each[2]) * FRACTION).astype(np.int32) + FRACTION // STEP // 2
