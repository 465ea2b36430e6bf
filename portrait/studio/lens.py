"""Drawing of painted scenery: soft shapes in linear light, defocus by a lens, encoding, grain."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Size
from portrait.images.filters import for_channels, to_levels

Floats = NDArray[np.float32]
"""H×W or H×W×3, linear light."""
Colour = tuple[float, float, float]
"""Linear red, green, blue."""

GRAIN = 1.1
"""Standard deviation of the luminance grain in levels of 255: about that of a camera at ISO 200; hides banding."""
KNEE = 0.7
"""Linear light from which lamps approach white instead of clipping."""
LENS = 0.03
"""Radius of the disc of a point out of focus, over the height: a room 4 m behind a person at 85 mm and f/2."""


def coordinates(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Row and column of each pixel, H×W, as shares 0..1 of height and width."""
    rows, columns = np.indices(shape, np.float32)
    return rows / np.float32(shape[0]), columns / np.float32(shape[1])


def clouds(shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """Noise of soft irregular patches, H×W, with mean 0 and deviation about 1."""
    out = np.zeros(shape, np.float32)
    for cells, weight in ((3, 0.8), (6, 0.5), (13, 0.25)):
        coarse = random.standard_normal((cells + 2, cells + 2)).astype(np.float32) * weight
        out += cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return out


def as_color(values: NDArray[np.floating]) -> Colour:
    """An array of three numbers as a colour."""
    return float(values[0]), float(values[1]), float(values[2])


def fill_ellipse(
    target: Floats, at: tuple[float, float], axes: tuple[float, float], colour: Colour | float, turn: float = 0.0
) -> None:
    """Fill an ellipse of `target`: centre as shares of width and height, axes as shares of the height, `turn` in degrees."""
    height, width = target.shape[:2]
    centre = (round(at[0] * width * 16), round(at[1] * height * 16))
    radii = (max(8, round(axes[0] * height * 16)), max(8, round(axes[1] * height * 16)))
    cv2.ellipse(target, centre, radii, turn, 0, 360, colour, -1, cv2.LINE_AA, 4)


def defocus(scene: Floats, share: float) -> Floats:
    """Defocus blur by a disc of radius `share` of the height, a little brighter at the rim, as lenses have it."""
    radius = share * scene.shape[0]
    reach = int(np.ceil(radius))
    across = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]).astype(np.float32)
    disc = np.clip(radius + 0.5 - across, 0, 1) * (0.85 + 0.3 * (across / radius) ** 3)
    return np.asarray(cv2.filter2D(scene, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT), np.float32)


def encode(linear: Floats) -> Floats:
    """Levels 0..255 of linear light; lamps approach white instead of clipping.

    The curve is a gamma of 2.2, not that of sRGB (`color.from_linear`): recipes of studio portraits depend on its pixels.
    """
    over = np.maximum(linear - KNEE, 0)
    rolled = np.where(linear > KNEE, KNEE + (1 - KNEE) * (1 - np.exp(-over / (1 - KNEE))), linear)
    return (np.power(np.clip(rolled, 0, 1), np.float32(1 / 2.2)) * 255).astype(np.float32)


def add_grain(
    strips: Iterable[tuple[slice, NDArray[np.float32] | Image]], size: Size, random: np.random.Generator
) -> Image:
    """Add grain to a picture of `size`, given as strips of levels from the top, and round to whole levels."""
    out = np.empty((size.height, size.width, 3), np.uint8)
    for rows, levels in strips:
        noise = random.standard_normal(levels.shape[:2], np.float32)
        noise *= np.float32(GRAIN)
        out[rows] = to_levels(np.add(levels, for_channels(noise, 3), dtype=np.float32))
    return out
