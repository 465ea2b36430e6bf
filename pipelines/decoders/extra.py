"""JPEG XL and DNG, by the libraries of the extra `formats`: their headers without them, their pixels with them.

Both libraries decode as they open: the size is read here first, so that nothing too large is decoded.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import PIL.Image

from pipelines.decoders.weights import Check, Weight
from portrait.arrays import Size
from portrait.errors import UserError

JXL, DNG, HALVED_DNG = Weight(13, 11), Weight(22, 22), Weight(8, 8)
"""Held whole; a raw photo of many pixels at half its width and height."""
NAMES = {"JXL": "JPEG XL", "DNG": "DNG"}
"""What people call the formats."""
HALVED = 16_000_000
"""Pixels of a raw photo beyond which one is made of each four: the colours of each are measured by four."""
_BOXES = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_DNG_VERSION = 50706
_CODESTREAM = b"\xff\x0a"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height by the number that a header has in place of a width."""
_BITS = (9, 13, 18, 30)
"""Bits of a length, by the two bits before it."""


def is_jxl(start: bytes) -> bool:
    """Whether a file begins as JPEG XL does: its codestream, or the boxes that it lies in."""
    return start.startswith((_CODESTREAM, _BOXES))


def is_dng(stream: BinaryIO) -> bool:
    """Whether a file is a TIFF whose first directory says its version of DNG; the stream stands at its beginning afterwards."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(stream.read(4))
    found = False
    if order is not None:
        stream.seek(int.from_bytes(stream.read(4), "little" if order == "<" else "big"))
        count = int.from_bytes(stream.read(2), "little" if order == "<" else "big")
        entries = stream.read(12 * count)
        found = any(
            tag == _DNG_VERSION for (tag,) in struct.iter_unpack(f"{order}H10x", entries[: len(entries) // 12 * 12])
        )
    stream.seek(0)
    return found


def jxl_size(content: bytes) -> Size:
    """Width and height, upright, by the header (ISO/IEC 18181-1, C.2 and C.4); raises `ValueError`, `IndexError`."""
    bits = _Bits(_codestream(content)[2:40])
    small = bits.take(1)
    height = 8 * (1 + bits.take(5)) if small else 1 + bits.take(_BITS[bits.take(2)])
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        width = height * across // down
    else:
        width = 8 * (1 + bits.take(5)) if small else 1 + bits.take(_BITS[bits.take(2)])
    # Not all of the metadata are at their defaults, and among those that are not may be the orientation.
    turned = not bits.take(1) and bits.take(1) and bits.take(3) >= 4
    return Size(height, width) if turned else Size(width, height)


def decode_jxl(content: bytes) -> PIL.Image.Image:
    """All pixels, upright, with the profile; raises `UserError` (`format_missing`), `OSError` and others of Pillow's."""
    with _library("JXL"):
        import pillow_jxl  # noqa: F401 -- registers the format with Pillow

    with PIL.Image.open(io.BytesIO(content), formats=["JXL"]) as picture:
        picture.load()
        return picture.copy()


def decode_dng(content: bytes, check: Check) -> tuple[PIL.Image.Image, Weight]:
    """All pixels, upright, in sRGB with the camera's white balance, and what that took.

    Raises `UserError` (`format_missing`), `OSError`, and what `check` raises.
    """
    with _library("DNG"):
        import rawpy
    try:
        with rawpy.imread(io.BytesIO(content)) as raw:
            size = Size(raw.sizes.raw_width, raw.sizes.raw_height)
            half = size.width * size.height > HALVED
            weight = HALVED_DNG if half else DNG
            check(size, weight)
            pixels: Any = raw.postprocess(use_camera_wb=True, half_size=half, output_bps=8)
    except rawpy.LibRawError as error:
        raise OSError("a raw photo of a kind that is not read") from error
    return PIL.Image.fromarray(np.ascontiguousarray(pixels)), weight


@contextmanager
def _library(format: str) -> Iterator[None]:
    """Say what is missing where the extra is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            "format_missing",
            f"This photo is {NAMES[format]}, which is read where its package is installed: `pip install 'portrait[formats]'`. "
            "Or save it as JPEG.",
        ) from error


def _codestream(content: bytes) -> bytes:
    """The codestream, whole or its first part; raises `ValueError` where no box holds one."""
    if content.startswith(_CODESTREAM):
        return content
    at = 0
    while at + 16 <= len(content):
        length, kind, head = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        if kind in (b"jxlc", b"jxlp"):
            return content[at + head + (4 if kind == b"jxlp" else 0) :][:64]
        if length < head:
            break
        at += length
    raise ValueError("no codestream")


class _Bits:
    """Numbers of some bits each, the lowest first."""

    def __init__(self, content: bytes) -> None:
        self._left = int.from_bytes(content, "little")
        self._count = 8 * len(content)

    def take(self, count: int) -> int:
        """The next bits as a number; raises `ValueError` behind the end."""
        if count > self._count:
            raise ValueError("the header ends early")
        number = self._left & ((1 << count) - 1)
        self._left >>= count
        self._count -= count
        return number
