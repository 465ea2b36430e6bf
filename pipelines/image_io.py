"""Reads pictures: files or bytes to `Selfie`, with limits on size and memory; headers and masks.

Nothing is decoded before the header's size was checked.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO, cast

import cv2
import numpy as np
import PIL.Image

from pipelines import decoders
from pipelines.memory import return_memory
from pipelines.pictures import (
    LYING,
    as_stored,
    converter,
    faults,
    open_bounded,
    photo_error,
    placed_strips,
    srgb_strips,
    turned,
    turned_size,
    upright_size,
)
from portrait.arrays import Image, Mask, Size
from portrait.errors import UserError
from portrait.faces.geometry import image_size
from portrait.images.windows import Window, shrink_source, source_of
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
"""What takes more memory to decode, or has more than `WHOLE_PIXELS`, is decoded while nothing else of that size is: photos are
decoded ahead in threads."""
_ALONE = Lock()
FILE_BYTES = 20_000_000
"""A file of more is read while no other of that size is held: one that waits to be decoded would take as much as its pixels."""
_ONE_FILE = Lock()


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
    with _one_file(path):
        return decode(_read_bytes(path), path.name, side)


def read_bounded(path: Path, most: int) -> Selfie:
    """Read a photo, reduced to at most so many pixels; see `read`."""
    size = probe(path).size
    share = (most / (size.width * size.height)) ** 0.5
    return read(path, round(max(size.width, size.height) * share) if share < 1 else None)


def decode(content: bytes, name: str, side: int | None = None) -> Selfie:
    """Decode a photo from bytes; see `read`."""
    picture = open_bounded(content)
    return Selfie(hashlib.sha256(content).hexdigest()[:16], _pixels(picture, side), name, upright_size(picture))


def read_part(path: Path, side: int | None, choose: Callable[[Size], Window]) -> Image:
    """The part of a photo that `choose` names, told the size of the photo as `read` gives it; without reducing the rest.

    Raises what `read` raises.
    """
    with _one_file(path):
        return _pixels(open_bounded(_read_bytes(path)), side, choose)


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
    size = _shrunk_size(width, height, side)
    return np.asarray(cv2.resize(image, (size.width, size.height), interpolation=cv2.INTER_AREA), np.uint8)


def _shrunk_size(width: int, height: int, side: int) -> Size:
    share = min(1.0, side / max(height, width))
    return Size(max(1, round(width * share)), max(1, round(height * share)))


def encode_thumbnail(image: Image, side: int) -> bytes:
    """A picture for a page as a JPEG, its long side at most `side` pixels."""
    bgr = cv2.cvtColor(shrink(image, side), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


@contextmanager
def _one_file(path: Path) -> Iterator[None]:
    """While no other large file is held, where this one is large; raises `UserError` (`unreadable`, `no_permission`)."""
    with _reading():
        large = path.stat().st_size > FILE_BYTES
    with _ONE_FILE if large else nullcontext():
        yield


def _read_bytes(path: Path) -> bytes:
    with _reading():
        if path.stat().st_size > MAX_BYTES:
            raise UserError(
                "too_large", f"This file is larger than {MAX_BYTES // 1_000_000} MB. Save a smaller copy and add that."
            )
        return path.read_bytes()


@contextmanager
def _reading() -> Iterator[None]:
    """Raises `UserError` (`unreadable`, `no_permission`) in place of the system's errors."""
    try:
        yield
    except PermissionError as error:
        raise photo_error("no_permission") from error
    except OSError as error:
        raise photo_error("unreadable") from error


def _pixels(picture: decoders.Picture, side: int | None, choose: Callable[[Size], Window] | None = None) -> Image:
    """All of a picture, upright, or the part that is chosen of it; raises `UserError` (`unreadable`, `too_large`)."""
    alone = _is_large(picture) or _decoding_bytes(picture, side) > ALONE_BYTES
    with faults(), _alone() if alone else nullcontext():
        if side is not None and side < picture.longest:
            return _reduced(picture, side, choose)
        whole = _all_pixels(picture)
        return whole if choose is None else _cut(whole, choose)


@contextmanager
def _alone() -> Iterator[None]:
    """While nothing else of that size is decoded; what decoding took goes back to the system before the next one."""
    with _ALONE:
        yield
        return_memory()


def _cut(image: Image, choose: Callable[[Size], Window]) -> Image:
    """A part of a picture, as a copy, so that the rest need not be kept."""
    return choose(image_size(image)).crop(image).copy()


def _all_pixels(picture: decoders.Picture) -> Image:
    """All pixels, upright: each strip is written where it belongs, and nothing is copied afterwards."""
    size = upright_size(picture)
    upright = np.empty((size.height, size.width, 3), np.uint8)
    stored, top = as_stored(upright, picture.orientation), 0
    for strip in srgb_strips(picture):
        stored[top : top + len(strip)] = strip
        top += len(strip)
    return upright


def _reduced(picture: decoders.Picture, side: int, choose: Callable[[Size], Window] | None) -> Image:
    """The picture with at most `side` pixels a side, by the mean of all its pixels, or a part of it; a JPEG in two steps."""
    scale = picture.jpeg_scale(side)
    if _is_large(picture) and scale == 1:
        share = side / picture.longest
        size = Size(max(1, round(picture.size.width * share)), max(1, round(picture.size.height * share)))
        strips = map(converter(picture), decoders.reduced_strips(picture, size))
        whole = turned(_joined(size, strips), picture.orientation)
        return whole if choose is None else _cut(whole, choose)
    size = Size(-(-picture.size.width // scale), -(-picture.size.height // scale))
    if choose is None:
        return turned(shrink(_joined(size, srgb_strips(picture, scale)), side), picture.orientation)
    reduced = _shrunk_size(size.width, size.height, side)
    upright = turned_size(reduced, picture.orientation)
    part = _stored_window(choose(upright), upright, picture.orientation)
    across, down = reduced.width / size.width, reduced.height / size.height
    source = source_of(part, size, across, down)
    pixels = _joined_part(srgb_strips(picture, scale), source.needed)
    return turned(shrink_source(pixels, source, part, across, down), picture.orientation).copy()


def _stored_window(part: Window, size: Size, orientation: int) -> Window:
    """Where a part of an upright picture of `size` lies in the picture as it is stored."""
    # Of numbers in place of colours the functions that turn pictures make the numbers' places.
    rows = as_stored(cast(Image, np.arange(size.height).reshape(-1, 1, 1)), orientation).ravel()
    columns = as_stored(cast(Image, np.arange(size.width).reshape(1, -1, 1)), orientation).ravel()
    down = np.flatnonzero((rows >= part.top) & (rows < part.bottom))
    across = np.flatnonzero((columns >= part.left) & (columns < part.right))
    if orientation in LYING:
        down, across = across, down
    return Window(int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1)


def _joined_part(strips: Iterable[Image], part: Window) -> Image:
    """A part of a picture of its strips of rows; those below it are not asked for."""
    pixels, top = np.empty((part.bottom - part.top, part.right - part.left, 3), np.uint8), 0
    for strip in strips:
        first, last = max(top, part.top), min(top + len(strip), part.bottom)
        if first < last:
            pixels[first - part.top : last - part.top] = strip[first - top : last - top, part.left : part.right]
        top += len(strip)
        if top >= part.bottom:
            break
    return pixels


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
