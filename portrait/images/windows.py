"""A window of a reduced picture, without reducing what lies around it: a face of a photo of 12 megapixels is a tenth of it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Size
from portrait.images.resize import Scalar, scaled_size

SAME = 1e-9
"""How far the first pixel of a window may lie beside its place in the reduced picture, in pixels of the picture. Where three
pixels of a thousand differ by a level, faces are found a tenth of a pixel elsewhere, and photos chosen in another order."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels; right and bottom are no part of it."""

    left: int
    top: int
    right: int
    bottom: int

    def crop(self, image: NDArray[Scalar]) -> NDArray[Scalar]:
        """That part of a picture, as a view."""
        return image[self.top : self.bottom, self.left : self.right]

    def matrix_to(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """The map from the picture to the window at `size` (width, height) pixels."""
        across = size[0] / (self.right - self.left)
        down = size[1] / (self.bottom - self.top)
        return np.array([[across, 0, -self.left * across], [0, down, -self.top * down]], np.float64)


@dataclass(frozen=True, slots=True)
class Source:
    """What of a picture is needed for a window of the reduced one."""

    needed: Window
    """In pixels of the picture."""
    left: int
    top: int
    """How many pixels of the reduced picture come before the window there."""


def source_of(window: Window, size: Size, across: float, down: float) -> Source:
    """What of a picture of `size` is needed for a window of it reduced by the factors `across` and `down`."""
    left, before = _start(window.left, across)
    top, above = _start(window.top, down)
    # One pixel more, so that the last one of the window is not cut.
    right, bottom = (round(window.right / across) + 2, round(window.bottom / down) + 2)
    return Source(Window(left, top, min(size.width, right), min(size.height, bottom)), before, above)


def shrink_source(part: Image, source: Source, window: Window, across: float, down: float) -> Image:
    """A window of a reduced picture, of that part of the picture that its source needs."""
    whole = across == down == 1
    small = part if whole else cv2.resize(part, None, fx=across, fy=down, interpolation=cv2.INTER_AREA)
    rows = slice(source.top, source.top + window.bottom - window.top)
    return np.asarray(small[rows, source.left : source.left + window.right - window.left], np.uint8)


def shrink_window(image: Image, window: Window, across: float, down: float) -> Image:
    """What `cv2.resize` by the means of areas gives of a window, where the whole is reduced by the factors `across` and `down`.

    The window is in pixels of the reduced picture and inside it.
    """
    source = source_of(window, Size(image.shape[1], image.shape[0]), across, down)
    return shrink_source(source.needed.crop(image), source, window, across, down)


def reduced_size(image: Image, across: float, down: float) -> Size:
    """The size to which `cv2.resize` reduces a picture by factors."""
    return Size(scaled_size(image.shape, across)[0], scaled_size(image.shape, down)[1])


def _start(first: int, factor: float) -> tuple[int, int]:
    """A pixel of the picture at which one of the reduced picture begins, and how many of that lie between it and `first`."""
    # The picture's own edge is always one.
    places = np.arange(first, -1, -1) / factor
    skipped = int(np.flatnonzero(np.abs(places - np.round(places)) <= SAME)[0])
    return round(float(places[skipped])), skipped
