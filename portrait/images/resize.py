"""Resizing pictures: to a size, to a longest side, to cover a size and crop what is beyond it."""

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Size

Values = TypeVar("Values", bound=NDArray[np.generic])


def scaled_size(shape: tuple[int, ...], factor: float, smallest: int = 1) -> tuple[int, int]:
    """Width and height in whole pixels of an array of `shape` (height, width, …) scaled by `factor`."""
    return max(smallest, round(shape[1] * factor)), max(smallest, round(shape[0] * factor))


def resize(values: Values, shape: tuple[int, ...], enlarging: int = cv2.INTER_LINEAR) -> Values:
    """An array of pixels at another height and width: averages areas when it shrinks, else OpenCV's `enlarging`.

    The array itself where it has that shape.
    """
    height, width = shape[:2]
    if values.shape[:2] == (height, width):
        return values
    shrinks = height * width < values.shape[0] * values.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else enlarging
    return np.asarray(cv2.resize(values, (width, height), interpolation=interpolation), values.dtype)  # type: ignore[return-value]


def shrink_to_side(values: Values, side: float) -> Values:
    """An array of pixels with a longer side of at most `side`, by averaging areas; never enlarged."""
    factor = side / max(values.shape[:2])
    if factor >= 1:
        return values
    return np.asarray(cv2.resize(values, scaled_size(values.shape, factor), interpolation=cv2.INTER_AREA), values.dtype)  # type: ignore[return-value]


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
