"""Reads pictures: files or bytes to `Selfie`, with limits on size and memory; headers and masks.

Nothing is decoded before the header's size was checked.
"""

import hashlib
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import cv2
import numpy as np
import PIL.Image

from pipelines import decoders
from pipelines.pictures import (
    as_stored,
    converter,
    faults,
    open_bounded,
    photo_error,
    placed_strips,
    turned,
    upright_size,
)
from portrait.arrays import Image, Mask, Size
from portrait.errors import UserError
from portrait.types import Selfie

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".gif", ".bmp", ".jxl", ".dng"}
)
"""Suffixes of the files that are taken for pictures when a folder is given."""
MAX_BYTES = 80_000_000
"""Largest file: a 108-megapixel JPEG or a 24-megapixel PNG fits."""
WHOLE_PIXELS = 24_000_000
"""Pictures of more pixels are not held whole to be reduced, where their format allows that."""
ALONE_BYTES = 100_000_000
"""What takes more memory to decode is decoded while nothing else of that size is: photos are decoded ahead in threads."""
_ALONE = Lock()


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header says, without decoding it; width and height as the person sees them."""

    format: str
    size: Size


def probe(file: Path | BinaryIO) -> Header:
    """Read the header alone; raises `UserError` (`unreadable`, `too_large`, `no_permission`)."""
    picture = open_bounded(file if isinstance(file, Path) else file.read())
    return Header(picture.format, upright_size(picture))


def read(path: Path, side: int | None = None) -> Selfie:
    """Decode a photo, turned upright by EXIF, in sRGB; raises `UserError` (`unreadable`, `too_large`, `no_permission`).

    With `side` the long side is reduced to at most that many pixels, which a JPEG does while decoding: 12 megapixels to
    1,000 px takes a quarter of the time.
    """
    return decode(_read_bytes(path), path.name, side)


def read_bounded(path: Path, most: int) -> Selfie:
    """Read a photo, reduced to at most so many pixels; see `read`."""
    size = probe(path).size
    share = (most / (size.width * size.height)) ** 0.5
    return read(path, round(max(size.width, size.height) * share) if share < 1 else None)


def decode(content: bytes, name: str, side: int | None = None) -> Selfie:
    """Decode a photo from bytes; see `read`."""
    picture = open_bounded(content)
    with faults(), _ALONE if _decoding_bytes(picture, side) > ALONE_BYTES else nullcontext():
        upright = _all_pixels(picture) if side is None or side >= picture.longest else _reduced(picture, side)
    return Selfie(hashlib.sha256(content).hexdigest()[:16], upright, name, upright_size(picture))


def read_mask(path: Path) -> tuple[Mask, str]:
    """Read a painted mask, 0..1 (white is 1, transparent is 0), and the SHA-256 of its file.

    Raises `UserError` (`unreadable`, `too_large`, `no_permission`).
    """
    content = _read_bytes(path)
    picture = open_bounded(content)
    with faults():
        to_srgb = converter(picture)
        light = np.empty((picture.size.height, picture.size.width), np.float32)
        for top, strip in placed_strips(picture):
            grey = PIL.Image.fromarray(to_srgb(strip)) if strip.mode.startswith("I") else strip
            # Lightness times opacity.
            opaque = grey.convert("RGBA").convert("LA").convert("La").getchannel("L")
            light[top : top + strip.height] = np.asarray(opaque)
    light /= np.float32(255)
    return light, hashlib.sha256(content).hexdigest()


def shrink(image: Image, side: int | None) -> Image:
    """Reduce a picture so that its long side has at most `side` pixels; None leaves it as it is."""
    height, width = image.shape[:2]
    if side is None or max(height, width) <= side:
        return image
    share = side / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_thumbnail(image: Image, side: int) -> bytes:
    """A picture for a page as a JPEG, its long side at most `side` pixels."""
    bgr = cv2.cvtColor(shrink(image, side), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def _read_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(
                "too_large", f"This file is larger than {MAX_BYTES // 1_000_000} MB. Save a smaller copy and add that."
            )
        return path.read_bytes()
    except PermissionError as error:
        raise photo_error("no_permission") from error
    except OSError as error:
        raise photo_error("unreadable") from error


def _all_pixels(picture: decoders.Picture) -> Image:
    """All pixels, upright: each strip is written where it belongs, and nothing is copied afterwards."""
    size, to_srgb = upright_size(picture), converter(picture)
    upright = np.empty((size.height, size.width, 3), np.uint8)
    stored = as_stored(upright, picture.orientation)
    for top, strip in placed_strips(picture):
        stored[top : top + strip.height] = to_srgb(strip)
    return upright


def _reduced(picture: decoders.Picture, side: int) -> Image:
    """The picture with at most `side` pixels a side, by the mean of all its pixels; a JPEG is reduced in two steps."""
    scale, to_srgb = picture.jpeg_scale(side), converter(picture)
    if _is_large(picture) and scale == 1:
        share = side / picture.longest
        size = Size(max(1, round(picture.size.width * share)), max(1, round(picture.size.height * share)))
        return turned(_joined(size, map(to_srgb, decoders.reduced_strips(picture, size))), picture.orientation)
    size = Size(-(-picture.size.width // scale), -(-picture.size.height // scale))
    pixels = _joined(size, (to_srgb(strip) for strip in decoders.strips(picture, scale)))
    return turned(shrink(pixels, side), picture.orientation)


def _joined(size: Size, strips: Iterable[Image]) -> Image:
    """Strips of rows as one picture of that size."""
    pixels, top = np.empty((size.height, size.width, 3), np.uint8), 0
    for strip in strips:
        pixels[top : top + len(strip)] = strip
        top += len(strip)
    return pixels


def _decoding_bytes(picture: decoders.Picture, side: int | None) -> float:
    """What decoding a picture, reduced to `side`, takes of memory."""
    in_parts = side is not None and (picture.jpeg_scale(side) > 1 or _is_large(picture))
    return picture.size.width * picture.size.height * (picture.weight.reduced if in_parts else picture.weight.full)


def _is_large(picture: decoders.Picture) -> bool:
    """Whether it is reduced while it is decoded, where its format allows that."""
    return picture.size.width * picture.size.height > WHOLE_PIXELS and picture.format in decoders.REDUCIBLE
