"""Resizing pictures: to a size, to a longest side, to cover a size and crop what is beyond it."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Size

Scalar = TypeVar("Scalar", bound=np.integer[Any] | np.floating[Any])
STRIP_ROWS = 64
"""Rows of a large picture that are computed at a time: in single precision a strip of 4,000 pixels takes 3 MB."""
ROWS_AT_ONCE = 8
"""Rows of a strip that are multiplied at a time: of more of them most weights are zero."""
WHOLE_VALUES = 4_000_000
"""Numbers of an array that is enlarged as a whole, a tenth of the time of its strips: 16 MB, a portrait of 1024×1280."""


def scaled_size(shape: tuple[int, ...], factor: float, smallest: int = 1) -> tuple[int, int]:
    """Width and height in whole pixels of an array of `shape` (height, width, …) scaled by `factor`."""
    return max(smallest, round(shape[1] * factor)), max(smallest, round(shape[0] * factor))


def resize(values: NDArray[Scalar], shape: tuple[int, ...], enlarging: int = cv2.INTER_LINEAR) -> NDArray[Scalar]:
    """An array of pixels at another height and width: averages areas when it shrinks, else OpenCV's `enlarging`.

    The array itself where it has that shape.
    """
    height, width = shape[:2]
    if values.shape[:2] == (height, width):
        return values
    shrinks = height * width < values.shape[0] * values.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else enlarging
    return np.asarray(cv2.resize(values, (width, height), interpolation=interpolation), values.dtype)


def strips(height: int) -> Iterator[slice]:
    """The rows of a picture of so many, `STRIP_ROWS` at a time."""
    return (slice(top, min(top + STRIP_ROWS, height)) for top in range(0, height, STRIP_ROWS))


def enlarged_strips(
    values: NDArray[np.float32], shape: tuple[int, ...], enlarging: int = cv2.INTER_LINEAR
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Rows of a small array at a height and width that are no smaller, strip by strip: together what `resize` gives.

    Of more than `WHOLE_VALUES`, memory holds beside a strip as many numbers as the rows of both, multiplied.
    """
    height, width = shape[:2]
    if values.shape[:2] == (height, width) or height * width * math.prod(values.shape[2:]) <= WHOLE_VALUES:
        large = resize(values, shape, enlarging)
        yield from ((part, large[part]) for part in strips(height))
        return
    # What each row takes of the rows of the small one, in OpenCV's own weights.
    unit = np.eye(values.shape[0], dtype=np.float32)
    shares = np.asarray(cv2.resize(unit, (len(unit), height), interpolation=enlarging), np.float32)
    for part in strips(height):
        taken = np.flatnonzero(shares[part].any(axis=0))
        near = values[taken[0] : taken[-1] + 1]
        lines = np.asarray(cv2.resize(near, (width, len(near)), interpolation=enlarging), np.float32).reshape(
            len(near), -1
        )
        strip = [_mixed(lines, shares[rows, taken[0] : taken[-1] + 1]) for rows in _some_rows(part)]
        yield part, np.concatenate(strip).reshape(-1, width, *values.shape[2:])


def _some_rows(part: slice) -> Iterator[slice]:
    return (slice(top, min(top + ROWS_AT_ONCE, part.stop)) for top in range(part.start, part.stop, ROWS_AT_ONCE))


def _mixed(lines: NDArray[np.float32], shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows that take their shares of `lines`."""
    taken = np.flatnonzero(shares.any(axis=0))
    used = slice(taken[0], taken[-1] + 1)
    # OpenCV's own product: that of numpy wakes all its threads for each of them.
    mixed = cv2.gemm(np.ascontiguousarray(shares[:, used]), lines[used], 1, np.empty(0, np.float32), 0)
    return np.asarray(mixed, np.float32)


def shrink_strips(parts: Iterable[NDArray[np.generic]], across: float, down: float) -> NDArray[np.float32]:
    """A picture given as strips of rows from the top, `across` and `down` (up to 1) times as large, by averaging areas.

    Memory holds one strip in single precision, and all of them at the width that is left.
    """
    narrow = [_scaled(np.asarray(part, np.float32), across, 1) for part in parts]
    return _scaled(np.concatenate(narrow), 1, down)


def _scaled(values: NDArray[np.float32], across: float, down: float) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(values, None, fx=across, fy=down, interpolation=cv2.INTER_AREA), np.float32)


def shrink_to_side(values: NDArray[Scalar], side: float) -> NDArray[Scalar]:
    """An array of pixels with a longer side of at most `side`, by averaging areas; never enlarged."""
    factor = side / max(values.shape[:2])
    if factor >= 1:
        return values
    return np.asarray(cv2.resize(values, scaled_size(values.shape, factor), interpolation=cv2.INTER_AREA), values.dtype)


def scale_to_cover(image: Image, size: Size, enlarging: int = cv2.INTER_LANCZOS4) -> Image:
    """Scale a picture, keeping its aspect ratio, to the least size that covers `size`; OpenCV's `enlarging` when it grows."""
    scale = max(size.width / image.shape[1], size.height / image.shape[0])
    width, height = scaled_size(image.shape, scale)
    covering = (max(size.width, width), max(size.height, height))
    interpolation = cv2.INTER_AREA if scale < 1 else enlarging
    return np.asarray(cv2.resize(image, covering, interpolation=interpolation), np.uint8)


def crop_to_fill(image: Image, size: Size, enlarging: int = cv2.INTER_LANCZOS4) -> Image:
    """Scale a picture so that it covers `size`, and crop its middle; the picture itself where it has that size.

    Shrinking averages areas; `enlarging` is OpenCV's interpolation where the picture grows.
    """
    if image.shape[:2] == (size.height, size.width):
        return image
    scaled = scale_to_cover(image, size, enlarging)
    left, top = (scaled.shape[1] - size.width) // 2, (scaled.shape[0] - size.height) // 2
    return np.ascontiguousarray(scaled[top : top + size.height, left : left + size.width])
