"""libvips: its pictures from pixels, and their rows in strips. Nothing of Python runs inside of it.

pyvips hands libvips's warnings to `logging`. Where Python collects its garbage in there, and frees a picture that warns as
well, GLib takes the warning within the warning for an endless one and aborts the process.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ["VIPS_WARNING"] = "0"  # read as the library is loaded: its warnings go nowhere
import pyvips

STRIP_PIXELS = 1 << 19
"""Pixels of one strip of rows."""
BROKEN = pyvips.Error
"""What it raises on files that lie about their content."""

pyvips._remove_log_handler()
# What it keeps of earlier pictures, it would keep for nobody.
pyvips.cache_set_max(0)


def rows_a_strip(width: int) -> int:
    """Rows of one strip: a power of two."""
    return 1 << (max(1, STRIP_PIXELS // width).bit_length() - 1)


def rows_of(image: pyvips.Image) -> Iterator[NDArray[Any]]:
    """The rows of a picture in strips of H×W×channels, of 8 or 16 bits."""
    region, width = pyvips.Region.new(image), int(image.width)
    rows = rows_a_strip(width)
    for top in range(0, image.height, rows):
        height = min(rows, image.height - top)
        content = region.fetch(0, top, width, height)
        values = np.frombuffer(content, np.uint16 if image.format == "ushort" else np.uint8)
        yield values.reshape(height, width, image.bands)


def image_of(pixels: NDArray[np.uint8]) -> pyvips.Image:
    """The picture of pixels, H×W×channels or H×W, which are not copied."""
    height, width = pixels.shape[:2]
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    return pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).data, width, height, bands, "uchar")
