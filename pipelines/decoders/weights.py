"""What decoding a picture takes of memory, by its format: how large pictures may be follows from it.

Measured at 80 megapixels, or the most that a format was read at.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from portrait.arrays import Size


@dataclass(frozen=True, slots=True)
class Weight:
    """What decoding takes: bytes of memory at the peak for each pixel of the file."""

    full: float
    """For the whole picture, with the result."""
    reduced: float
    """For a small picture of it."""


Check: TypeAlias = Callable[[Size, Weight], None]
"""Raises where a picture of a size takes more than it may."""
