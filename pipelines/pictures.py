"""Pictures within bounds: opened, converted to sRGB strip by strip, turned upright, reduced to thumbnails.

Imports no OpenCV: a process that makes thumbnails alone is half as large without.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np
import PIL.Image
from PIL import ImageCms

from pipelines import decoders
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.photos.reasons import TIPS

Convert: TypeAlias = Callable[[PIL.Image.Image], PIL.Image.Image]
"""Turns a strip into RGB of sRGB."""
MAX_PIXELS = 120_000_000
"""Largest picture: the cameras of phones reach 108 megapixels; 360 MB once decoded."""
MAX_MEMORY = 720_000_000
"""Bytes that decoding one picture may take, with the result: formats that take more than 6 a pixel have fewer pixels."""
MAX_REDUCED_MEMORY = 480_000_000
"""Bytes that a thumbnail of one may take."""


_COLOURS = {"RGB": "RGB", "RGBA": "RGB", "RGBa": "RGB", "P": "RGB", "PA": "RGB", "CMYK": "CMYK"} | dict.fromkeys(
    ("L", "LA", "La", "1"), "L"
)
"""The mode of a profile for each mode of a picture."""


def open_bounded(file: decoders.File) -> decoders.Picture:
    """Open a picture whose decoding stays within the bounds.

    Raises `UserError` (`unreadable`, `too_large`, `no_permission`, `format_missing`).
    """
    with faults():
        return decoders.open_picture(file, _check_bounds)


def _check_bounds(size: Size, weight: decoders.Weight) -> None:
    """Raise `UserError` (`too_large`) for what takes more than one picture may."""
    if size.width * size.height > min(MAX_PIXELS, MAX_MEMORY / weight.full, MAX_REDUCED_MEMORY / weight.reduced):
        raise photo_error("too_large")


def thumbnail(path: Path, side: int, max_bytes: float = MAX_REDUCED_MEMORY) -> Image | None:
    """A picture of at most `side` pixels, upright, in sRGB; None where decoding it would take more than `max_bytes`.

    The whole picture is never held where its format can be read in parts. Raises what `open_bounded` raises.
    """
    picture = open_bounded(path)
    if picture.weight.reduced * picture.size.width * picture.size.height > max_bytes:
        return None
    with faults():
        return turned(_reduced(picture, side), picture.orientation)


@contextmanager
def faults() -> Iterator[None]:
    """Turn what the decoders raise into `UserError`."""
    try:
        yield
    except PermissionError as error:
        raise photo_error("no_permission") from error
    except MemoryError as error:
        raise photo_error("too_large") from error
    except decoders.BROKEN as error:
        raise photo_error("unreadable") from error


def photo_error(code: str) -> UserError:
    """The error of a photo that cannot be read, with its tip."""
    return UserError(code, TIPS[code])


def upright_size(picture: decoders.Picture) -> Size:
    """Width and height as the person sees them."""
    return turned_size(picture.size, picture.orientation)


def turned_size(size: Size, orientation: int) -> Size:
    """Width and height, upright, of what is stored in that size."""
    return Size(size.height, size.width) if orientation in LYING else size


def placed_strips(picture: decoders.Picture, scale: int = 1) -> Iterator[tuple[int, PIL.Image.Image]]:
    """The strips of a picture, each with the row where it begins."""
    top = 0
    for strip in decoders.strips(picture, scale):
        yield top, strip
        top += strip.height


def converter(picture: decoders.Picture) -> Callable[[PIL.Image.Image], Image]:
    """What turns strips into H×W×3 sRGB: transparency on white, 16 bits to 8, the colour profile applied."""
    if picture.mode.startswith("I;16"):
        # 16-bit grey comes as it is stored; a picture in an 8-bit range stays as it is.
        is_deep = any(int(np.asarray(strip).max(initial=0)) > 255 for strip in decoders.strips(picture))
        return lambda strip: _from_grey(strip, 257 if is_deep else 1)
    to_srgb = _from_profile(picture) or _plain
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        return lambda strip: _on_white(strip, to_srgb)
    return lambda strip: np.asarray(to_srgb(strip))


def srgb_strips(picture: decoders.Picture, scale: int = 1) -> Iterator[Image]:
    """The rows of a picture, of a JPEG reduced by `scale`, in strips of H×W×3 sRGB."""
    if picture.format == "JPEG" and picture.mode == "RGB" and scale == 1 and _from_profile(picture) is None:
        return decoders.srgb_strips(picture)
    return map(converter(picture), decoders.strips(picture, scale))


def turned(image: Image, orientation: int) -> Image:
    """A stored picture turned upright."""
    return np.ascontiguousarray(_TURNS.get(orientation, _same)(image))


def as_stored(upright: Image, orientation: int) -> Image:
    """A view of an upright picture in which it lies as it is stored: what is written there stands upright."""
    return _TURNS.get({6: 8, 8: 6}.get(orientation, orientation), _same)(upright)


def _from_grey(strip: PIL.Image.Image, divisor: int) -> Image:
    grey = (np.asarray(strip, np.uint16) // np.uint16(divisor)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _on_white(strip: PIL.Image.Image, to_srgb: Convert) -> Image:
    layer = strip.convert("RGBA")
    if to_srgb is not _plain:
        opaque = to_srgb(strip.convert("LA").getchannel("L") if strip.mode in ("LA", "La") else layer.convert("RGB"))
        opaque.putalpha(layer.getchannel("A"))
        layer = opaque
    paper = PIL.Image.new("RGBA", layer.size, "white")
    return np.asarray(PIL.Image.alpha_composite(paper, layer).convert("RGB"))


def _transformed(strip: PIL.Image.Image, transform: ImageCms.ImageCmsTransform) -> PIL.Image.Image:
    """A strip by a transform; always a picture of its own, as it is not made in place."""
    return ImageCms.applyTransform(strip, transform) or strip


def _plain(strip: PIL.Image.Image) -> PIL.Image.Image:
    return strip if strip.mode == "RGB" else strip.convert("RGB")


def _from_profile(picture: decoders.Picture) -> Convert | None:
    """What turns strips of a picture with a colour profile into sRGB; None without one that can be used."""
    profile, mode = picture.info.get("icc_profile"), _COLOURS.get(picture.mode, "")
    if not profile or not mode:
        return None
    # A broken profile is no reason to refuse a photo: its colours will be slightly off instead.
    with suppress(ImageCms.PyCMSError, OSError, ValueError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in (ImageCms.getProfileDescription(source) or "") and mode == "RGB":
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        return lambda strip: _transformed(strip if strip.mode == mode else strip.convert(mode), transform)
    return None


def _reduced(picture: decoders.Picture, side: int) -> Image:
    """The picture as it is stored with at most `side` pixels a side: each strip is reduced before the next is decoded."""
    scale, to_srgb = picture.jpeg_scale(side), converter(picture)
    # Twice the side is left for the last step, which sees all strips. Powers of two, so that each fits into each strip.
    factor = 1 if picture.scales_freely else _power_of_two(picture.longest // scale // (2 * side))
    down = min(factor, decoders.rows_a_strip(picture.size.width))
    rows = 2 * side + 1 if picture.scales_freely else -(-picture.size.height // scale // down)
    canvas: PIL.Image.Image | None = None
    top = 0
    for strip in decoders.strips(picture, scale, 2 * side):
        part = PIL.Image.fromarray(to_srgb(strip)).reduce((factor, down))
        # One canvas for all: small pictures between the strips would keep the allocator from using their memory again.
        canvas = PIL.Image.new("RGB", (part.width, rows)) if canvas is None else canvas
        canvas.paste(part, (0, top))
        top += part.height
    if canvas is None:
        raise OSError("no rows")
    share = min(1.0, side / picture.longest)
    size = (max(1, round(picture.size.width * share)), max(1, round(picture.size.height * share)))
    return np.asarray(canvas.resize(size, PIL.Image.Resampling.HAMMING, (0, 0, canvas.width, top)))


def _power_of_two(number: int) -> int:
    """The largest power of two that is not larger; 1 for 0."""
    return 1 << max(0, number.bit_length() - 1)


LYING = (5, 6, 7, 8)
"""Values of EXIF's orientation with which rows are stored as columns."""


def _same(image: Image) -> Image:
    return image


# By EXIF orientation, what turns the picture upright: views, nothing is copied.
_TURNS: dict[int, Callable[[Image], Image]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image),
}
