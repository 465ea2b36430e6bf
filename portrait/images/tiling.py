"""Tiled processing: runs a network that takes small pictures on one of any size, without seams, in bounded memory."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image

Floats: TypeAlias = NDArray[np.float32]
Span: TypeAlias = tuple[int, Floats]
"""Start of a tile along one axis and the weights of its pixels; the weights of all spans sum to 1 at every pixel."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a picture is cut into tiles."""

    side: int = 256
    """Side of a tile in pixels, with the discarded margin; a smaller picture is one tile of its own size."""
    margin: int = 16
    """Pixels discarded at the inner edges of a tile, where the network saw a border that is none in the picture."""
    feather: int = 16
    """Pixels over which a tile fades into the next."""
    step: int = 1
    """Tiles begin at multiples of this: a network that folds 2×2 pixels into one must fold the same ones in every tile."""

    def __post_init__(self) -> None:
        if self.stride < 1 or self.margin < 0 or self.feather < 1 or self.step < 1:
            raise ValueError("a tile needs room for its margins and a feather")

    @property
    def stride(self) -> int:
        """Pixels from one tile to the next at most."""
        return self.side - 2 * self.margin - self.feather - (self.step - 1)


def process_tiled(image: Image, apply: Callable[[Image], Floats], tiling: Tiling, factor: int = 1) -> Image:
    """The result of `apply` for the whole picture, computed tile by tile.

    `apply` takes h×w×3 uint8 and gives (h·factor)×(w·factor)×3, 0..255. Where its result for a pixel
    depends on nothing farther away than `margin`, the result equals that of the untiled picture. Beside the result,
    memory holds one row of tiles.
    """
    height, width = image.shape[:2]
    rows, columns = tile_spans(height, tiling), tile_spans(width, tiling)
    out = np.empty((height * factor, width * factor, 3), np.uint8)
    reach = min(tiling.side, height) * factor
    strip = np.zeros((reach, width * factor, 3), np.float32)
    top = 0
    for number, (start, weights) in enumerate(rows):
        strip = _scroll(strip, (start - top) * factor)
        top = start
        across = _row(image[start : start + len(weights)], columns, apply, factor)
        across *= np.repeat(weights, factor)[:, None, None]
        strip[: len(across)] += across
        done = (rows[number + 1][0] if number + 1 < len(rows) else height) - start
        # In place, for a row of tiles of a large picture is large: what is finished is not needed again.
        ready = strip[: done * factor]
        ready += np.float32(0.5)
        out[start * factor : (start + done) * factor] = np.clip(ready, 0, 255, out=ready)
    return out


def tile_spans(size: int, tiling: Tiling) -> list[Span]:
    """Even spans along a side of `size` pixels, all of one length, the last shorter by `step` at most."""
    side = min(tiling.side, size)
    count = 1 if size <= side else math.ceil((size - side) / tiling.stride) + 1
    exact = [number * (size - side) / max(1, count - 1) for number in range(count)]
    offsets = [math.ceil(round(each) / tiling.step) * tiling.step for each in exact]
    raw = [_ramps(min(side, size - start), start > 0, start + side < size, tiling) for start in offsets]
    total = np.zeros(size, np.float32)
    for start, weights in zip(offsets, raw, strict=True):
        total[start : start + len(weights)] += weights
    return [(start, weights / total[start : start + len(weights)]) for start, weights in zip(offsets, raw, strict=True)]


def _ramps(side: int, begins: bool, ends: bool, tiling: Tiling) -> Floats:
    """Weights of a span: 0 in the margins, 1 in the middle; the picture's own edges have neither margin nor ramp."""
    places = np.arange(side, dtype=np.float32) + np.float32(0.5)
    weights = np.ones(side, np.float32)
    if begins:
        weights = np.minimum(weights, np.clip((places - tiling.margin) / tiling.feather, 0, 1))
    if ends:
        weights = np.minimum(weights, np.clip((side - places - tiling.margin) / tiling.feather, 0, 1))
    return weights.astype(np.float32)


def _row(strip: Image, columns: list[Span], apply: Callable[[Image], Floats], factor: int) -> Floats:
    """One row of tiles, blended side by side."""
    height, width = strip.shape[:2]
    out = np.zeros((height * factor, width * factor, 3), np.float32)
    for start, weights in columns:
        tile = np.ascontiguousarray(strip[:, start : start + len(weights)])
        result = apply(tile)
        if result.shape != (tile.shape[0] * factor, tile.shape[1] * factor, 3):
            raise ValueError(f"a tile of {tile.shape} became {result.shape}, not {factor} times as large")
        here = slice(start * factor, (start + len(weights)) * factor)
        out[:, here] += result * np.repeat(weights, factor)[None, :, None]
    return out


def _scroll(strip: Floats, rows: int) -> Floats:
    """Shift the strip up by `rows`, whose pixels are finished; the new rows at the bottom are zero."""
    if rows:
        strip[: len(strip) - rows] = strip[rows:].copy() if rows < len(strip) else 0
        strip[max(0, len(strip) - rows) :] = 0
    return strip
