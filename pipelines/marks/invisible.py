"""The invisible mark: who made a portrait and which one it is, in its pixels; docs/marks.md says what it survives.

A faint pattern lies over the brightness of the picture, 512 cells across its short side whatever its size: stronger where
hair and cloth hide it, all but nothing on smooth skin and backdrops. It is read wherever a crop begins, by trying scales.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.marks import carrier
from pipelines.marks.carrier import TILE, Place, Spectrum
from portrait.arrays import Image
from portrait.images.resize import enlarged_strips, shrink_strips, strips

CELLS = 512
"""Cells across the short side of a whole picture."""
SMALLEST_SIDE = 64
"""Pixels: what is smaller holds no mark that could be read."""
LONGEST = 2
"""Sides longer than so many short ones are marked and read in their middle alone."""
FAINTEST, STRONGEST = 0.22, 3.5
"""Standard deviation of the pattern, levels of 255: where nothing hides it, and at most."""
HIDDEN = 0.3
"""Of the picture's own variation, so much more of the pattern is not seen."""
MOST = 2.0
"""Of the pattern over the whole picture, levels: 42 dB."""
EDGE = 17
"""Cells: a lone edge varies within fewer, and hides nothing."""
GRAIN = 0.5
"""Levels that vary in the smoothest picture, by rounding alone."""
REDUCED = (1.0, 2**0.5, 2.0, 0.5**0.5)
"""What is tried: a crop with 1/2 of the short side is reduced by 2; below 1 the picture lies within a larger one."""
HIGH = 7.0
"""Standard deviations of a place that is looked at closer at once; of chance it is 6.5 at most."""
CLOSER = 3
"""Other places that are looked at closer in each reduction."""
Grid = NDArray[np.float32]
"""Brightness, one value a cell."""
_DITHER = (
    np.frombuffer(hashlib.shake_256(b"portrait invisible mark 1 dither").digest(TILE * TILE), np.uint8)
    .reshape(TILE, TILE)
    .astype(np.float32)
    + 0.5
) / 256 - 0.5


@dataclass(frozen=True, slots=True)
class Payload:
    """What a mark says: the installation's tag, 16 bits, and the portrait's short id, 32 bits."""

    tag: int
    id: int


def short_id(portrait_id: str) -> int:
    """Return the 32 bits that stand for a portrait: the first of the SHA-256 of its id."""
    return int.from_bytes(hashlib.sha256(portrait_id.encode()).digest()[:4], "big")


def embed(image: Image, payload: Payload) -> Image:
    """Return the picture with the mark, as large as before; the same picture and payload give the same pixels.

    It takes the place of a mark that the picture carries, as what is edited does. A picture whose short side has less than
    SMALLEST_SIDE pixels stays as it is.
    """
    if min(image.shape[:2]) < SMALLEST_SIDE:
        return image.copy()
    drawn = carrier.tile(payload.tag.to_bytes(2, "big") + payload.id.to_bytes(4, "big"))
    pattern, marked = _pattern(_middle(image), drawn), image.copy()
    middle = _middle(marked)
    for rows, steps in _steps(pattern, middle.shape):
        for channel in range(3):
            middle[rows, :, channel] = cv2.add(middle[rows, :, channel], steps, dtype=cv2.CV_8U)
    return marked


def read(image: Image) -> Payload | None:
    """Return what the mark of a picture says; None where there is none that the check sum confirms.

    Tried are every place of the tile, what a crop leaves down to a third of a side, a picture that fills 7/10 of another,
    and all of it mirrored; no rotation, and no other ratio of width to height.
    """
    if min(image.shape[:2]) < SMALLEST_SIDE:
        return None
    middle = _middle(image)
    for reduced in REDUCED:
        found = _search(_whitened(_cells(middle, reduced)))
        if found is not None:
            return Payload(int.from_bytes(found[:2], "big"), int.from_bytes(found[2:], "big"))
    return None


def _pattern(image: Image, drawn: Grid) -> Grid:
    """What the mark adds to each cell, levels: the tile, repeated, as strong as the picture hides it."""
    grid = _cells(image, 1.0)
    former = carrier.message(_summed(_whitened(grid), 1.0), Place(0, 0, 0))
    drawn = drawn if former is None else drawn - carrier.tile(former)
    rows, columns = grid.shape
    pattern = np.tile(drawn, (-(-rows // TILE), -(-columns // TILE)))[:rows, :columns] * _strength(grid)
    pattern *= min(1.0, MOST / (float(pattern.std()) + 1e-6))
    return pattern


def _steps(pattern: Grid, shape: tuple[int, ...]) -> Iterator[tuple[slice, NDArray[np.int16]]]:
    """Whole levels to add to each channel, strip by strip; what lies between two is now the one and now the other, as in
    dithering."""
    height, width = shape[:2]
    across = np.tile(_DITHER, (1, -(-width // TILE)))[:, :width]
    if width < pattern.shape[1]:
        pattern = _resized(pattern, width, height)
    for rows, added in enlarged_strips(pattern, shape, cv2.INTER_CUBIC):
        places = np.arange(rows.start, rows.stop) % TILE
        yield rows, np.rint(added + across[places]).astype(np.int16)


def _middle(image: Image) -> Image:
    height, width = image.shape[:2]
    longest = LONGEST * min(height, width)
    top, left = max(height - longest, 0) // 2, max(width - longest, 0) // 2
    return image[top : top + longest, left : left + longest]


def _resized(values: Grid, width: int, height: int) -> Grid:
    smaller = width < values.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(values, (width, height), interpolation=how), np.float32)


def _cells(image: Image, reduced: float) -> Grid:
    """The brightness of a picture whose short side has CELLS / `reduced` cells."""
    height, width = image.shape[:2]
    brightness = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = CELLS / reduced / min(height, width)
    columns, rows = round(width * scale), round(height * scale)
    if columns < width:
        return shrink_strips((brightness[part] for part in strips(height)), columns / width, rows / height)
    return _resized(brightness.astype(np.float32), columns, rows)


def _details(grid: Grid) -> Grid:
    return grid - cv2.GaussianBlur(grid, (0, 0), 3)


def _strength(grid: Grid) -> Grid:
    """How much of the pattern is not seen, levels; what lies beside an edge does not hide it."""
    varied = np.sqrt(cv2.GaussianBlur(np.square(_details(grid)), (0, 0), 2))
    hiding = cv2.GaussianBlur(cv2.erode(varied, np.ones((EDGE, EDGE), np.uint8)), (0, 0), 2)
    return np.clip(FAINTEST + HIDDEN * hiding, FAINTEST, STRONGEST, dtype=np.float32)


def _whitened(grid: Grid) -> Grid:
    """Details of the picture, each weighted by how much of the mark is to be expected there, over what else varies."""
    details = _details(grid)
    power = cv2.GaussianBlur(np.square(details), (0, 0), 4)
    return np.clip(details * (FAINTEST + HIDDEN * np.sqrt(power)) / (power + GRAIN), -3, 3, dtype=np.float32)


def _summed(whitened: Grid, scale: float) -> Spectrum:
    """The waves of all tiles, laid over each other."""
    rows, columns = (round(side * scale) for side in whitened.shape)
    grid = whitened if scale == 1 else cv2.resize(whitened, (columns, rows), interpolation=cv2.INTER_LINEAR)
    grid = np.pad(grid, ((0, -rows % TILE), (0, -columns % TILE)))
    return carrier.spectrum(grid.reshape(grid.shape[0] // TILE, TILE, -1, TILE).sum((0, 2), dtype=np.float32))


def _scales(side: int) -> Iterator[float]:
    """From 1 down to the next reduction, so near each other that no tile strays by more than a cell at the picture's ends."""
    scale = 1.0
    while scale > 0.5**0.5:
        yield scale
        scale -= 2.5 / side


def _search(whitened: Grid) -> bytes | None:
    """The message of a grid, enlarged up to the next reduction's."""
    side = max(whitened.shape)
    places: list[tuple[float, float, bool]] = []
    for scale in _scales(side):
        waves = _summed(whitened, scale)
        for mirrored in (False, True):
            place = carrier.find(carrier.mirrored(waves) if mirrored else waves)
            if place.height >= HIGH and (found := _refined(whitened, scale, mirrored)) is not None:
                return found
            places.append((place.height, scale, mirrored))
    nearer = (_refined(whitened, scale, mirrored) for _, scale, mirrored in sorted(places, reverse=True)[:CLOSER])
    return next((found for found in nearer if found is not None), None)


def _refined(whitened: Grid, scale: float, mirrored: bool) -> bytes | None:
    """The message at the best of the scales around one."""
    near = scale + np.array([0, -1, -0.5, 0.5, 1]) * 1.25 / max(whitened.shape)
    best: tuple[Place, Spectrum] | None = None
    for each in near:
        waves = _summed(whitened, float(each))
        waves = carrier.mirrored(waves) if mirrored else waves
        place = carrier.find(waves, 2)
        if best is None or place.height > best[0].height:
            best = place, waves
    return carrier.message(best[1], best[0]) if best is not None else None
