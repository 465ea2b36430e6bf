"""Images, masks, points, vectors and sizes: the array types of everything else; and the generator of random arrays.

Images are H×W×3 uint8 RGB everywhere; BGR exists only inside a function that calls OpenCV. Points are (x, y) pixels of the
image they belong to, x to the right and y down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""H×W×3, RGB, sRGB, 0..255."""

Mask: TypeAlias = NDArray[np.float32]
"""H×W, 0..1."""

Points: TypeAlias = NDArray[np.float32]
"""N×2 pixels, or N×3 with a depth in the same unit (smaller is nearer to the camera)."""

Vector: TypeAlias = NDArray[np.float32]
"""An embedding, exactly as its model gives it: not normalised unless the model does."""

Region: TypeAlias = Literal[
    "skin", "brows", "eyes", "nose", "mouth", "lips", "hair", "ears", "neck", "glasses", "hat", "clothes"
]
"""Part of a head; `mouth` is what lies between the lips."""

Regions: TypeAlias = Mapping[Region, Mask]
"""Soft masks as large as the picture, their sum at most 1; regions that an engine does not know are left out."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int


SMALLEST_SIDE, LARGEST_SIDE = 64, 8000
"""Sides that a portrait may have, pixels; enlarged or not."""


def read_numbers(numbers: object, dimensions: int) -> NDArray[np.float32]:
    """Numbers that a file holds as an array of so many dimensions; raises `ValueError` where they are others or not finite.

    What is no number raises what NumPy raises: `ValueError`, `TypeError`, `OverflowError`.
    """
    with np.errstate(over="ignore"):
        found = np.array(numbers, np.float32)
    if found.ndim != dimensions or not np.isfinite(found).all():
        raise ValueError(f"not finite numbers in {dimensions} dimensions")
    return found


def random_generator(seed: int | Sequence[int]) -> np.random.Generator:
    """Random numbers that a recipe reproduces from `seed`, by a bit generator that NumPy promises not to change.

    `np.random.default_rng` may stand for another one in a later version (NEP 19).
    """
    return np.random.Generator(np.random.PCG64(seed))
