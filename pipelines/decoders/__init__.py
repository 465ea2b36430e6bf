"""Decodes the formats that are read, in strips of rows, so that a large picture takes little more memory than its pixels.

What a file is, is read from its content and never from its name. Opening reads the header alone. JPEG and PNG are streamed by
libvips, which gives Pillow's pixels; JPEG that is reduced while decoding, AVIF, TIFF, GIF and BMP are Pillow's; WebP is
OpenCV's; HEIC is libheif's; JPEG XL and DNG are read by `extra`. `docs/decisions/0005-decoding.md` has what was measured.
libvips has threads: a process that forks decodes after the fork, as the workers do.
"""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import PIL.Image
import pillow_heif
from numpy.typing import NDArray
from PIL import PngImagePlugin

from pipelines.decoders import containers, extra, libvips
from pipelines.decoders.containers import File
from pipelines.decoders.libvips import pyvips, rows_a_strip
from pipelines.decoders.weights import Check, Weight
from portrait.arrays import Size

ORIENTATION = 0x0112
"""EXIF's tag."""
SCANS = 50
"""Scans of a JPEG. Cameras and programs write 1 to 12; each costs time for all pixels, however few bytes it has."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PILLOW = ("JPEG", "PNG", "HEIF", "AVIF", "TIFF", "GIF", "BMP")
_WHOLE = ("AVIF", "TIFF", "GIF", "BMP", "JXL", "DNG")
"""Formats that Pillow decodes at once, and not in strips."""
REDUCIBLE = ("JPEG", "PNG", "WEBP", "HEIF")
_TIFF_SUBFILE = 254
_JPEG_SCALES = (8, 4, 2, 1)
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    struct.error,
    LookupError,
    ArithmeticError,
    RuntimeError,
    libvips.BROKEN,
)
"""What the libraries raise on files that lie about their content."""

pillow_heif.register_heif_opener()
# Photos are decoded two at a time, and what each thread took of memory stays with it.
pillow_heif.options.DECODE_THREADS = 2  # pyrefly: ignore[bad-assignment] -- an option
# Pillow warns at half its bound and fails at twice it; `pictures` has one bound, checked before any pixel is decoded.
PIL.Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_MEMORY = 8_000_000  # pyrefly: ignore[bad-assignment] -- an option

JPEG, PNG = Weight(5, 0.3), Weight(5, 1)
"""A row at a time."""
BUFFERED_JPEG = Weight(10, 6.5)
"""JPEG in several scans: all coefficients are held, 6 bytes a pixel without subsampling."""
INTERLACED, INTERLACED_DEEP = Weight(8, 4.5), Weight(12, 8.5)
"""Interlaced PNG is held whole, with 4 channels of 8 or 16 bits."""
WEBP, ANIMATED_WEBP = Weight(9, 5), Weight(13, 9)
HEIF, HEIF_FULLER, HEIF_DEEP = Weight(7, 5), Weight(9.8, 9.8), Weight(16.5, 16.5)
"""HEIC as phones write it; with either more than 8 bits or more colour, or transparency; with more than one of these."""
AVIF = Weight(18, 18)
"""With 10 bits, full colour and transparency; the header does not say."""
WHOLE = Weight(10, 8)
"""TIFF, GIF and BMP are held whole, with 4 channels and the file beside them."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An opened file: what its header says."""

    file: File
    format: str
    """Pillow's name."""
    size: Size
    """As stored: before it is turned upright."""
    mode: str
    """Pillow's name of the colour mode in the file."""
    info: dict[Any, Any]
    """Pillow's names: `icc_profile`, `transparency` and others."""
    orientation: int
    weight: Weight
    has_end: bool = True
    """False for a JPEG without its end marker: whether that is all it lacks shows when its pixels are decoded."""
    decoded: PIL.Image.Image | None = None
    """All pixels, of formats that are decoded as they are opened."""

    @property
    def longest(self) -> int:
        """The long side in pixels."""
        return max(self.size.width, self.size.height)

    @property
    def scales_freely(self) -> bool:
        """Whether it is decoded to any size at once; of WebP that moves the first picture is decoded."""
        return self.format == "WEBP" and self.weight is WEBP

    def jpeg_scale(self, side: int) -> int:
        """By which of 1, 2, 4 and 8 a JPEG may be reduced while decoding and still have a long side of `side`; else 1."""
        if self.format != "JPEG" or self.longest <= side or not self.has_end:
            return 1
        share = side / self.longest
        asked = [max(1, int(length * share)) for length in (self.size.width, self.size.height)]
        possible = min(self.size.width // asked[0], self.size.height // asked[1])
        return next(scale for scale in _JPEG_SCALES if possible >= scale)


def open_picture(file: File, check: Check = lambda size, weight: None) -> Picture:
    """Read the header; raises what `BROKEN` lists, and `UserError` (`format_missing`).

    `check` is asked before anything is decoded, with the size as stored, and raises where that is too much.
    """
    picture = _open(file, check)
    if picture.decoded is None:
        check(picture.size, picture.weight)
    return picture


def _open(file: File, check: Check) -> Picture:
    with containers.open_stream(file) as stream:
        start = stream.read(64)
        stream.seek(0)
        if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            return _open_webp(file if isinstance(file, bytes) else stream.read())
        if extra.is_jxl(start):
            return _open_jxl(file, check)
        if extra.is_dng(stream):
            decoded, weight = extra.decode_dng(containers.content_of(file), check)
            return _decoded(file, "DNG", decoded, weight)
        read = io.BytesIO(containers.png_head(file)) if start[:8] == _PNG else stream
        with PIL.Image.open(read, formats=_PILLOW) as picture:
            info = {**picture.info}
            if picture.format == "PNG" and "exif" not in info:
                info |= containers.late_exif(file)
            if picture.format == "TIFF":
                _check_tiff(picture, start)
            weight = _weigh(picture, start, file)
            # A JPEG with more pictures behind the first is MPO to Pillow.
            format = "JPEG" if picture.format == "MPO" else picture.format or ""
            has_end = format != "JPEG" or containers.has_end(file)
            size = Size(*picture.size)
            # Of a TIFF Pillow says the size upright, and turns it itself.
            orientation = 1 if format == "TIFF" else _orientation(info)
            return Picture(file, format, size, picture.mode, info, orientation, weight, has_end)


def strips(picture: Picture, scale: int = 1, side: int | None = None) -> Iterator[PIL.Image.Image]:
    """The rows of a picture from top to bottom, in strips; 16-bit grey stays 16-bit, other depths become 8.

    A JPEG is reduced by `scale`, WebP to `side` pixels of its long side. Raises what `BROKEN` lists.
    """
    if picture.format == "WEBP":
        return _webp_strips(picture, side)
    if picture.format == "HEIF":
        return _heif_strips(picture)
    if picture.format in _WHOLE or scale > 1:
        return _pillow_strips(picture, scale)
    loaded = _load_jpeg(picture) if picture.format == "JPEG" else _load_png(picture.file)
    return _vips_strips(loaded, picture.mode)


def srgb_strips(picture: Picture) -> Iterator[NDArray[np.uint8]]:
    """The rows of a JPEG whose three colours need no conversion, in strips of H×W×3: what `strips` gives, in half of the time.

    Raises what `BROKEN` lists.
    """
    return libvips.rows_of(_load_jpeg(picture))


def reduced_strips(picture: Picture, size: Size) -> Iterator[PIL.Image.Image]:
    """The rows of a picture of `REDUCIBLE` formats, reduced while they are decoded; of HEIF all pixels are in memory before.

    Raises what `BROKEN` lists.
    """
    if picture.format == "HEIF":
        opened = pillow_heif.open_heif(picture.file, convert_hdr_to_8bit=True)
        loaded = libvips.image_of(np.asarray(opened, np.uint8))
    elif picture.format == "WEBP":
        loaded = _load_webp(
            containers.content_of(picture.file), **_webp_scale(picture, size.width / picture.size.width)
        )
    else:
        loaded = _load_jpeg(picture) if picture.format == "JPEG" else _load_png(picture.file)
    across, down = size.width / loaded.width, size.height / loaded.height
    # The mean of the pixels below, as of everything that is reduced here.
    return _vips_strips(loaded.resize(across, vscale=down, kernel="linear"), picture.mode)


def _vips_strips(image: pyvips.Image, mode: str) -> Iterator[PIL.Image.Image]:
    for values in libvips.rows_of(image):
        if mode == "I;16":
            yield PIL.Image.fromarray(np.ascontiguousarray(values[..., 0]))
            continue
        eight_bits = (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values
        yield _strip(eight_bits, "CMYK" if mode == "CMYK" else _MODES[image.bands])


def _pillow_strips(picture: Picture, scale: int) -> Iterator[PIL.Image.Image]:
    if picture.decoded is not None:
        rows = rows_a_strip(picture.size.width)
        for top in range(0, picture.size.height, rows):
            yield picture.decoded.crop((0, top, picture.size.width, min(picture.size.height, top + rows)))
        return
    with containers.open_stream(picture.file) as stream, PIL.Image.open(stream, formats=_PILLOW) as opened:
        if scale > 1:
            opened.draft(None, (picture.size.width // scale, picture.size.height // scale))
        opened.load()
        width, height = opened.size
        for top in range(0, height, rows_a_strip(width)):
            yield opened.crop((0, top, width, min(height, top + rows_a_strip(width))))


def _webp_strips(picture: Picture, side: int | None) -> Iterator[PIL.Image.Image]:
    if side is not None:
        loaded = _load_webp(containers.content_of(picture.file), **_webp_scale(picture, side / picture.longest))
        return _vips_strips(loaded, picture.mode)
    import cv2  # half of what importing this module would take, for this alone

    decoded = cv2.imdecode(np.frombuffer(containers.content_of(picture.file), np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise OSError("not a picture")
    order = [2, 1, 0, 3][: decoded.shape[2]]
    rows = rows_a_strip(decoded.shape[1])
    parts = (np.asarray(decoded[top : top + rows], np.uint8) for top in range(0, len(decoded), rows))
    return (PIL.Image.fromarray(np.ascontiguousarray(part[..., order])) for part in parts)


def _webp_scale(picture: Picture, share: float) -> dict[str, float]:
    """libwebp's own way to reduce a picture, row by row, by the mean of the pixels below."""
    return {"scale": min(1.0, share)} if picture.scales_freely else {}


def _heif_strips(picture: Picture) -> Iterator[PIL.Image.Image]:
    opened = pillow_heif.open_heif(picture.file, convert_hdr_to_8bit=True)
    values = np.asarray(opened, np.uint8)
    rows = rows_a_strip(values.shape[1])
    return (_strip(values[top : top + rows], opened.mode) for top in range(0, len(values), rows))


_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def _strip(values: NDArray[Any], mode: str) -> PIL.Image.Image:
    size = values.shape[1], values.shape[0]
    return PIL.Image.frombuffer(mode, size, np.ascontiguousarray(values), "raw", mode, 0, 1)


# libvips parses EXIF in time that grows with the square of its entries, and sets store by none of what it finds: it gets
# files without.


def _load_jpeg(picture: Picture) -> pyvips.Image:
    """A JPEG that is decoded as its rows are asked for."""
    with containers.mapped(picture.file) as content:
        kept = [content[:2]]
        for marker, start, end in containers.segments(content):
            # JFIF and Adobe's say which colours there are.
            if marker == containers.SOS or marker in (0xE0, 0xEE) or not (0xE1 <= marker <= 0xEF or marker == 0xFE):
                kept.append(content[start:end])
    if picture.has_end:
        return pyvips.Image.jpegload_buffer(b"".join(kept), access="sequential", fail_on="truncated")
    # Where pixels are missing too, the library warns that the marker comes early.
    return pyvips.Image.jpegload_buffer(b"".join([*kept, containers.END]), access="sequential", fail_on="warning")


def _load_png(file: File) -> pyvips.Image:
    """A PNG that is decoded as its rows are asked for."""
    with containers.mapped(file) as content:
        chunks = list(containers.chunks(content))
        if any(name in containers.PNG_METADATA for name, _, _ in chunks):
            kept = b"".join(content[start:end] for name, start, end in chunks if name not in containers.PNG_METADATA)
            file = content[:8] + kept
    if isinstance(file, bytes):
        return pyvips.Image.pngload_buffer(file, access="sequential", fail_on="truncated")
    return pyvips.Image.pngload(str(file), access="sequential", fail_on="truncated")


def _load_webp(content: bytes, **options: Any) -> pyvips.Image:
    """A WebP, or its header."""
    kept = b"".join(
        content[start:end] for name, start, end in containers.riff_chunks(content) if name not in (b"EXIF", b"XMP ")
    )
    head = content[:4] + (len(kept) + 4).to_bytes(4, "little") + content[8:12]
    return pyvips.Image.webpload_buffer(head + kept, **options)


def _open_webp(content: bytes) -> Picture:
    """Read the header of a WebP by libvips: Pillow allocates two canvases to read one."""
    image = _load_webp(content)
    read, known = cast("Callable[[str], Any]", image.get), set(image.get_fields())
    parts = {name: content[start + 8 : end] for name, start, end in containers.riff_chunks(content)}
    names = {b"ICCP": "icc_profile", b"EXIF": "exif", b"XMP ": "xmp"}
    info = {names[name]: part for name, part in parts.items() if name in names}
    is_animated = "n-pages" in known and int(read("n-pages")) > 1
    weight, size = ANIMATED_WEBP if is_animated else WEBP, Size(int(image.width), int(image.height))
    return Picture(content, "WEBP", size, _MODES[image.bands], info, _orientation(info), weight)


def _open_jxl(file: File, check: Check) -> Picture:
    content = containers.content_of(file)
    check(extra.jxl_size(content), extra.JXL)
    return _decoded(file, "JXL", extra.decode_jxl(content), extra.JXL)


def _decoded(file: File, format: str, decoded: PIL.Image.Image, weight: Weight) -> Picture:
    return Picture(file, format, Size(*decoded.size), decoded.mode, {**decoded.info}, 1, weight, decoded=decoded)


def _check_tiff(picture: PIL.Image.Image, start: bytes) -> None:
    """Raise `OSError` for what cameras write raw, whose first picture is a thumbnail, and for numbers that are no colours."""
    tags = picture.getexif()
    if int(tags.get(_TIFF_SUBFILE, 0)) & 1 or start[8:10] == b"CR":
        raise OSError("raw data of a camera")
    if picture.mode in ("F", "I"):
        raise OSError("numbers of no photo")


def _orientation(info: dict[Any, Any]) -> int:
    """The orientation of EXIF, or of XMP where EXIF says none; raises what `BROKEN` lists where EXIF is broken."""
    # Pillow's own class for PNG decodes the whole picture in search of EXIF behind it.
    shell = PIL.Image.new("1", (1, 1))
    shell.info = info
    found = shell.getexif().get(ORIENTATION, 1)
    return found if isinstance(found, int) else 1


def _weigh(picture: PIL.Image.Image, start: bytes, file: File) -> Weight:
    """What a file takes, by its header; raises `OSError` for a JPEG of too many scans."""
    if picture.format == "PNG":
        # IHDR comes first: depth at 24, interlacing at 28.
        return PNG if not start[28] else INTERLACED_DEEP if start[24] == 16 else INTERLACED
    if picture.format in _WHOLE:
        return AVIF if picture.format == "AVIF" else WHOLE
    if picture.format == "HEIF":
        is_deep = picture.info.get("bit_depth") != 8
        if picture.info.get("chroma") == 420 and picture.mode in ("RGB", "L"):
            return HEIF_FULLER if is_deep else HEIF
        return HEIF_DEEP if is_deep else HEIF_FULLER
    with containers.mapped(file) as content:
        if not containers.has_scans(content):
            return JPEG
        count, at = 0, -1
        while (at := content.find(b"\xff\xda", at + 1)) >= 0:
            count += 1
            if count > SCANS:
                raise OSError("more scans than a photo has")
    return BUFFERED_JPEG
