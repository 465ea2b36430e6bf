"""Reads pictures: files or bytes to `Selfie`, with limits on size; headers and masks; the only module that decodes uploads.

What a file is, is read from its content and never from its name. Nothing is decoded before the header's size was checked.
"""

import hashlib
import io
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import PIL.Image
import pillow_heif
from PIL import ImageCms

from portrait.arrays import Image, Mask, Size
from portrait.errors import UserError
from portrait.photos.reasons import TIPS
from portrait.types import Selfie

FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF")
"""Formats of Pillow that are read."""
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif"})
"""Suffixes of the files that are taken for pictures when a folder is given."""
MAX_BYTES = 80_000_000
"""Largest file: a 108-megapixel JPEG or a 24-megapixel PNG fits."""
MAX_PIXELS = 120_000_000
"""Largest picture: the cameras of phones reach 108 megapixels; 360 MB once decoded."""
ORIENTATION = 0x0112
"""EXIF's tag."""

pillow_heif.register_heif_opener()
# Pillow warns at half its bound and fails at twice it; this module has one bound, checked before any pixel is decoded.
PIL.Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header says, without decoding it; width and height as the person sees them."""

    format: str
    size: Size


def probe(file: Path | BinaryIO) -> Header:
    """Read the header alone; raises `UserError` (`unreadable`, `too_large`)."""
    with _open(file) as picture:
        try:
            # Pillow's own class for PNG decodes the whole picture in search of EXIF behind it.
            sideways = PIL.Image.Image.getexif(picture).get(ORIENTATION, 1) in (5, 6, 7, 8)
        except _BROKEN as error:
            raise _photo_error("unreadable") from error
        width, height = picture.size[::-1] if sideways else picture.size
        return Header(picture.format or "", Size(width, height))


def read(path: Path, side: int | None = None) -> Selfie:
    """Decode a photo, turned upright by EXIF, in sRGB; raises `UserError` (`unreadable`, `too_large`).

    With `side` the long side is reduced to at most that many pixels, which a JPEG does while decoding: 12 megapixels to
    1,000 px takes a quarter of the time.
    """
    return decode(_read_bytes(path), path.name, side)


def decode(content: bytes, name: str, side: int | None = None) -> Selfie:
    """Decode a photo from bytes; see `read`."""
    with _open(io.BytesIO(content)) as picture:
        full_size = picture.size
        if side is not None and max(full_size) > side:
            share = side / max(full_size)
            picture.draft("RGB", (max(1, int(full_size[0] * share)), max(1, int(full_size[1] * share))))
        try:
            turn = picture.getexif().get(ORIENTATION, 1)
            pixels = shrink(_to_srgb(picture), side)
        except _BROKEN as error:
            raise _photo_error("unreadable") from error
    upright = np.ascontiguousarray(_TURNS.get(turn, _same)(pixels))
    width, height = full_size[::-1] if turn in (5, 6, 7, 8) else full_size
    return Selfie(hashlib.sha256(content).hexdigest()[:16], upright, name, Size(width, height))


# What Pillow and its codecs raise on files that lie about their content.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    KeyError,
    IndexError,
    ZeroDivisionError,
    RuntimeError,
)


def read_mask(path: Path) -> tuple[Mask, str]:
    """Read a painted mask, 0..1 (white is 1, transparent is 0), and the SHA-256 of its file.

    Raises `UserError` (`unreadable`, `too_large`).
    """
    content = _read_bytes(path)
    with _open(io.BytesIO(content)) as picture:
        try:
            is_deep = picture.mode.startswith("I") or picture.mode == "F"
            grey = PIL.Image.fromarray(_to_srgb(picture)) if is_deep else picture
            # Lightness times opacity.
            light = np.asarray(grey.convert("RGBA").convert("LA").convert("La").getchannel("L"))
        except _BROKEN as error:
            raise _photo_error("unreadable") from error
    return light.astype(np.float32) / np.float32(255), hashlib.sha256(content).hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _photo_error("too_large")
        return path.read_bytes()
    except OSError as error:
        raise _photo_error("unreadable") from error


def _open(file: Path | BinaryIO) -> PIL.Image.Image:
    try:
        picture = PIL.Image.open(file, formats=FORMATS)
    except _BROKEN as error:
        raise _photo_error("unreadable") from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        picture.close()
        raise _photo_error("too_large")
    return picture


def _to_srgb(picture: PIL.Image.Image) -> Image:
    """Return H×W×3 sRGB: transparency on white, 16 bits to 8, the colour profile applied."""
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, np.float64)
        # Pillow gives 16-bit grey as integers; an 8-bit range stays as it is.
        grey = np.clip(values / 257 if values.max(initial=0) > 255 else values, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        paper = PIL.Image.new("RGBA", layer.size, "white")
        return np.asarray(PIL.Image.alpha_composite(paper, layer).convert("RGB"))
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        # A broken profile is no reason to refuse a photo: its colours will be slightly off instead.
        with suppress(ImageCms.PyCMSError, OSError, ValueError):
            return np.asarray(_apply_profile(picture, profile))
    return np.asarray(picture.convert("RGB"))


def _apply_profile(picture: PIL.Image.Image, profile: bytes) -> PIL.Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if "sRGB" in (ImageCms.getProfileDescription(source) or "") and picture.mode == "RGB":
        return picture
    managed = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return managed or picture


def shrink(image: Image, side: int | None) -> Image:
    """Reduce a picture so that its long side has at most `side` pixels; None leaves it as it is."""
    height, width = image.shape[:2]
    if side is None or max(height, width) <= side:
        return image
    share = side / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _same(image: Image) -> Image:
    return image


# By EXIF orientation, what turns the picture upright.
_TURNS: dict[int, Callable[[Image], Image]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image),
}


def _photo_error(code: str) -> UserError:
    return UserError(code, TIPS[code])
