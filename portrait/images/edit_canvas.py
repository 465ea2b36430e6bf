"""A picture laid out for an edit: what of it stays, what is drawn anew, and how both become one."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points, Size
from portrait.generation.edits import Edit, canvas_size
from portrait.images.masks import depth

FEATHER = 32
"""The longer side of what is drawn, over the width of the border in which it fades into what stays."""
MIRRORED = 12
"""The shorter side of a picture over what is seen of its mirrored border: more would invite a second body."""
STRIP = 512
"""Rows that are blended at a time, so that memory does not grow with the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class EditCanvas:
    """A picture laid out for an edit."""

    whole: Image
    """As large as the result; what the picture lacks is filled with the colours beside it."""
    left: int
    top: int
    """Where the picture lies in it."""
    rows: slice
    columns: slice
    """The window that is drawn."""
    blend: Mask | None = None
    """How much of the drawing is taken, 0..1; exactly 0 where the picture stays. None takes all of it."""

    @property
    def window(self) -> Size:
        """Of what is drawn, in pixels of the result."""
        return Size(self.columns.stop - self.columns.start, self.rows.stop - self.rows.start)

    def start(self, size: Size) -> Image:
        """The window at the size it is drawn at."""
        return _resized(self.whole[self.rows, self.columns], size)

    def mask(self, size: Size) -> Mask | None:
        """Where the drawing may differ, 0 or 1; None everywhere."""
        if self.blend is None:
            return None
        changed = (self.blend[self.rows, self.columns] > 0).astype(np.float32)
        small = cv2.resize(changed, (size.width, size.height), interpolation=cv2.INTER_AREA)
        return (small > 0).astype(np.float32)

    def points(self, points: Points, size: Size) -> Points:
        """Points of the picture in pixels of the drawing."""
        offset = (self.left - self.columns.start, self.top - self.rows.start)
        scale = (size.width / self.window.width, size.height / self.window.height)
        return ((points[:, :2] + offset) * scale).astype(np.float32)

    def put(self, drawn: Image) -> Image:
        """The result, of a drawing of the window at any size."""
        drawn = _resized(drawn, self.window)
        if self.blend is None:
            return drawn
        out = self.whole.copy()
        for row in range(self.rows.start, self.rows.stop, STRIP):
            rows = slice(row, min(row + STRIP, self.rows.stop))
            share = self.blend[rows, self.columns, None]
            there = drawn[rows.start - self.rows.start : rows.stop - self.rows.start]
            before = out[rows, self.columns].astype(np.float32)
            out[rows, self.columns] = np.clip(before + (there - before) * share + np.float32(0.5), 0, 255)
        return out


def lay_out(edit: Edit, side: int) -> EditCanvas:
    """The picture laid out; `side` is the size that the base draws at, in pixels."""
    height, width = edit.picture.shape[:2]
    whole = EditCanvas(edit.picture, 0, 0, slice(0, height), slice(0, width))
    if edit.kind == "extend" and edit.shape is not None:
        return _extended(edit.picture, edit.shape)
    if edit.mask is None:
        return whole
    inside = edit.mask >= 0.5
    rows, columns = (
        _around(np.flatnonzero(inside.any(axis=axis)), size, side) for axis, size in ((1, height), (0, width))
    )
    depths = depth(inside)
    longer = max(rows.stop - rows.start, columns.stop - columns.start)
    blend = np.clip(depths / max(1.0, min(longer / FEATHER, float(depths.max()))), 0, 1).astype(np.float32)
    return EditCanvas(edit.picture, 0, 0, rows, columns, blend)


def _extended(picture: Image, shape: tuple[int, int]) -> EditCanvas:
    """The picture in the middle of a larger canvas; beside it, its mirrored border that loses itself in blur."""
    height, width = picture.shape[:2]
    wide, tall = canvas_size(width, height, shape)
    left, top = (wide - width) // 2, (tall - height) // 2
    border = (top, tall - height - top, left, wide - width - left)
    whole = np.asarray(cv2.copyMakeBorder(picture, *border, cv2.BORDER_REFLECT_101), np.uint8)
    inside = np.zeros((tall, wide), np.uint8)
    inside[top : top + height, left : left + width] = 1
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    blurred = _resized(_soft(whole), Size(wide, tall))
    reach = max(1.0, min(width, height) / MIRRORED)
    for row in range(0, tall, STRIP):
        here = slice(row, row + STRIP)
        share = np.clip(away[here, :, None] / np.float32(reach), 0, 1)
        whole[here] = np.round(whole[here] + (blurred[here] - whole[here].astype(np.float32)) * share)
    whole[top : top + height, left : left + width] = picture
    band = max(2, round(min(width, height) / FEATHER))
    across = _ramp(wide, left, left + width, band)
    down = _ramp(tall, top, top + height, band)
    blend = np.maximum(across[None, :], down[:, None])
    return EditCanvas(whole, left, top, slice(0, tall), slice(0, wide), blend)


def _ramp(size: int, start: int, stop: int, band: int) -> Mask:
    """1 outside of start..stop, falling to 0 within `band` pixels inside; the canvas' own edges have no ramp."""
    places = np.arange(size, dtype=np.float32) + np.float32(0.5)
    before = 1 - (places - start) / band if start > 0 else np.zeros(size, np.float32)
    after = 1 - (stop - places) / band if stop < size else np.zeros(size, np.float32)
    return np.clip(np.maximum(before, after), 0, 1).astype(np.float32)


def _soft(image: Image) -> Image:
    """The colours of a picture without its shapes, small."""
    height, width = image.shape[:2]
    scale = min(1.0, 128 / max(height, width))
    small = _resized(image, Size(max(1, round(width * scale)), max(1, round(height * scale))))
    return np.asarray(cv2.GaussianBlur(small, (0, 0), max(small.shape[:2]) / 12), np.uint8)


def _around(places: NDArray[np.intp], size: int, side: int) -> slice:
    """Along one side: those places with half as much again at either end, at least `side` pixels where there are."""
    first, last = int(places[0]), int(places[-1]) + 1
    wanted = max(2 * (last - first), side)
    start = max(0, min((first + last - wanted) // 2, size - wanted))
    return slice(start, min(size, start + wanted))


def _resized(image: Image, size: Size) -> Image:
    height, width = image.shape[:2]
    if (width, height) == (size.width, size.height):
        return image
    how = cv2.INTER_AREA if size.width * size.height < width * height else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(image, (size.width, size.height), interpolation=how), np.uint8)
