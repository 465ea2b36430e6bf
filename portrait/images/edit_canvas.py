"""The canvas of an edit: the window that is drawn anew, its mask, and pasting the drawing back into the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points, Size
from portrait.generation.edits import Edit, canvas_size
from portrait.images.masks import distance_inside
from portrait.images.resize import resize, shrink_to_side

FEATHER = 32
"""The longer side of the drawn window over the width of the border in which it fades into the picture."""
MIRRORED = 12
"""The shorter side of a picture over the visible part of its mirrored border: more would show a second body."""
STRIP = 512
"""Rows that are blended at a time, so that memory does not grow with the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class EditCanvas:
    """A picture with the window that an edit draws anew."""

    canvas: Image
    """As large as the result; beyond the picture it is filled with mirrored, blurred colours."""
    left: int
    top: int
    """Where the picture lies in the canvas."""
    rows: slice
    columns: slice
    """The window of the canvas that is drawn."""
    blend_mask: Mask | None = None
    """Alpha of the drawing, 0..1, as large as the canvas; exactly 0 where the picture stays. None stands for 1."""

    @property
    def window(self) -> Size:
        """Size of the window in pixels of the result."""
        return Size(self.columns.stop - self.columns.start, self.rows.stop - self.rows.start)

    def crop_for_drawing(self, size: Size) -> Image:
        """The window resized to the size at which it is drawn."""
        return _resize(self.canvas[self.rows, self.columns], size)

    def drawing_mask(self, size: Size) -> Mask | None:
        """Inpainting mask of the drawing, 0 or 1; None for everywhere."""
        if self.blend_mask is None:
            return None
        changed = (self.blend_mask[self.rows, self.columns] > 0).astype(np.float32)
        small = cv2.resize(changed, (size.width, size.height), interpolation=cv2.INTER_AREA)
        return (small > 0).astype(np.float32)

    def to_drawing(self, points: Points, size: Size) -> Points:
        """N×2 points of the picture in pixels of the drawing."""
        offset = (self.left - self.columns.start, self.top - self.rows.start)
        scale = (size.width / self.window.width, size.height / self.window.height)
        return ((points[:, :2] + offset) * scale).astype(np.float32)

    def paste(self, generated: Image) -> Image:
        """The result: the drawing, of any size, blended into the window."""
        generated = _resize(generated, self.window)
        if self.blend_mask is None:
            return generated
        out = self.canvas.copy()
        for row in range(self.rows.start, self.rows.stop, STRIP):
            rows = slice(row, min(row + STRIP, self.rows.stop))
            share = self.blend_mask[rows, self.columns, None]
            there = generated[rows.start - self.rows.start : rows.stop - self.rows.start]
            before = out[rows, self.columns].astype(np.float32)
            out[rows, self.columns] = np.clip(before + (there - before) * share + np.float32(0.5), 0, 255)
        return out


def lay_out(edit: Edit, side: int) -> EditCanvas:
    """The canvas of an edit; `side` is the native size of the base in pixels, the least side of the window."""
    height, width = edit.picture.shape[:2]
    if edit.kind == "extend" and edit.shape is not None:
        return _extend(edit.picture, edit.shape)
    if edit.mask is None:
        return EditCanvas(edit.picture, 0, 0, slice(0, height), slice(0, width))
    inside = edit.mask >= 0.5
    rows, columns = (
        _span_around(np.flatnonzero(inside.any(axis=axis)), size, side) for axis, size in ((1, height), (0, width))
    )
    depths = distance_inside(inside)
    longer = max(rows.stop - rows.start, columns.stop - columns.start)
    blend = np.clip(depths / max(1.0, min(longer / FEATHER, float(depths.max()))), 0, 1).astype(np.float32)
    return EditCanvas(edit.picture, 0, 0, rows, columns, blend)


def _extend(picture: Image, shape: tuple[int, int]) -> EditCanvas:
    """The canvas for outpainting: the picture in the middle, beside it its mirrored border, more and more blurred."""
    height, width = picture.shape[:2]
    wide, tall = canvas_size(width, height, shape)
    left, top = (wide - width) // 2, (tall - height) // 2
    border = (top, tall - height - top, left, wide - width - left)
    canvas = np.asarray(cv2.copyMakeBorder(picture, *border, cv2.BORDER_REFLECT_101), np.uint8)
    inside = np.zeros((tall, wide), np.uint8)
    inside[top : top + height, left : left + width] = 1
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    blurred = _resize(_blurred_thumbnail(canvas), Size(wide, tall))
    reach = max(1.0, min(width, height) / MIRRORED)
    for row in range(0, tall, STRIP):
        here = slice(row, row + STRIP)
        share = np.clip(away[here, :, None] / np.float32(reach), 0, 1)
        canvas[here] = np.round(canvas[here] + (blurred[here] - canvas[here].astype(np.float32)) * share)
    canvas[top : top + height, left : left + width] = picture
    band = max(2, round(min(width, height) / FEATHER))
    across = _ramp(wide, left, left + width, band)
    down = _ramp(tall, top, top + height, band)
    blend = np.maximum(across[None, :], down[:, None])
    return EditCanvas(canvas, left, top, slice(0, tall), slice(0, wide), blend)


def _ramp(size: int, start: int, stop: int, band: int) -> Mask:
    """1 outside of start..stop, falling to 0 within `band` pixels inside; the canvas' own edges have no ramp."""
    places = np.arange(size, dtype=np.float32) + np.float32(0.5)
    before = 1 - (places - start) / band if start > 0 else np.zeros(size, np.float32)
    after = 1 - (stop - places) / band if stop < size else np.zeros(size, np.float32)
    return np.clip(np.maximum(before, after), 0, 1).astype(np.float32)


def _blurred_thumbnail(image: Image) -> Image:
    """A small, strongly blurred copy of a picture."""
    small = shrink_to_side(image, 128)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), max(small.shape[:2]) / 12), np.uint8)


def _span_around(places: NDArray[np.intp], size: int, side: int) -> slice:
    """Along one axis of `size` pixels: the span of some places with half as much again at both ends, at least `side` long."""
    first, last = int(places[0]), int(places[-1]) + 1
    wanted = max(2 * (last - first), side)
    start = max(0, min((first + last - wanted) // 2, size - wanted))
    return slice(start, min(size, start + wanted))


def _resize(image: Image, size: Size) -> Image:
    return resize(image, (size.height, size.width), cv2.INTER_CUBIC)
