"""Pictures that are meant to harm: truncated, with random headers, huge, nested, of two kinds, bombs of every format."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pillow_heif
import pyvips

from tests import selfies

FORMATS: dict[str, dict[str, Any]] = {
    "jpeg": {"format": "JPEG", "quality": 85},
    "progressive": {"format": "JPEG", "quality": 85, "progressive": True},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "quality": 85},
    "heif": {"format": "HEIF", "quality": 60},
    "avif": {"format": "AVIF", "quality": 70, "speed": 10},
    "tiff": {"format": "TIFF", "compression": "tiff_lzw"},
    "gif": {"format": "GIF"},
    "bmp": {"format": "BMP"},
}
FLAT = (90, 120, 60)

pillow_heif.register_heif_opener()


def encoded(image: PIL.Image.Image, **options: Any) -> bytes:
    """The bytes of a file."""
    content = io.BytesIO()
    image.save(content, **options)
    return content.getvalue()


def photos(side: int = 256) -> dict[str, bytes]:
    """A good photo in each format."""
    photo = PIL.Image.fromarray(cv2.resize(selfies.astronaut(), (side, side), interpolation=cv2.INTER_AREA))
    return {name: encoded(photo, **options) for name, options in FORMATS.items()}


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def png(width: int, height: int, depth: int = 8, kind: int = 2, *chunks: bytes) -> bytes:
    """A PNG that claims a size and has the first of its pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(bytes(1000)))


def truncated(good: dict[str, bytes], step: int = 1000) -> Iterator[tuple[str, bytes]]:
    """Each photo cut off after every `step` bytes."""
    for name, content in good.items():
        for length in range(step, len(content), step):
            yield f"{name} cut at {length}", content[:length]


def random_headers(good: dict[str, bytes], count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Each photo with some random bytes among its first 400."""
    generator = np.random.default_rng(seed)
    for name, content in good.items():
        for number in range(count):
            spoilt = bytearray(content)
            for _ in range(generator.integers(1, 9)):
                spoilt[generator.integers(2, 400)] = generator.integers(256)
            yield f"{name} spoilt {number}", bytes(spoilt)


def huge_sizes(good: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Headers that claim far more pixels than there are."""
    for width, height in (
        (60_000, 60_000),
        (2**31 - 1, 1),
        (1, 2**31 - 1),
        (2**31 - 1, 2**31 - 1),
        (0, 9),
        (12_000, 10_000),
    ):
        yield f"png of {width} x {height}", png(width, height)
        yield f"deep png of {width} x {height}", png(width, height, 16, 6)
    for name in ("jpeg", "progressive"):
        at = max(good[name].find(marker) for marker in (b"\xff\xc0", b"\xff\xc2"))
        for height, width in ((65_500, 65_500), (0, 100), (10_900, 11_000), (65_500, 1_800)):
            size = struct.pack(">HH", height, width)
            yield f"{name} of {width} x {height}", good[name][: at + 5] + size + good[name][at + 9 :]
    for name in ("heif", "avif"):
        at = good[name].find(b"ispe")
        for width, height in ((60_000, 60_000), (2**32 - 1, 2**32 - 1), (0, 0), (7_000, 7_000)):
            size = struct.pack(">II", width, height)
            yield f"{name} of {width} x {height}", good[name][: at + 8] + size + good[name][at + 16 :]
    lossless = encoded(PIL.Image.new("RGB", (64, 64), FLAT), format="WEBP", lossless=True)
    bits = (16_383 - 1) | (16_383 - 1) << 14
    yield "webp of 16383 x 16383", lossless[:21] + bits.to_bytes(4, "little") + lossless[25:]


def exif(*entries: bytes, following: int = 0) -> bytes:
    """An EXIF segment of a JPEG, its first directory at 8."""
    body = (
        b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following)
    )
    content = b"Exif\x00\x00" + body
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content


def nested_exif(good: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """EXIF whose directories contain themselves, are endless, or point anywhere."""

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, kind, count, value)

    segments = {
        "itself": exif(entry(0x8769, 4, 1, 8)),
        "itself twice": exif(entry(0x8769, 4, 1, 8), entry(0x8825, 4, 1, 8), entry(0xA005, 4, 1, 8), following=8),
        "endless": exif(entry(0x0112, 3, 2**32 - 1, 8)),
        "strings": exif(*[entry(0x010E, 2, 2**31, 8)] * 300),
        "behind the end": exif(entry(0x8769, 4, 1, 2**32 - 2), following=2**32 - 2),
        "orientation of 9": exif(entry(0x0112, 3, 1, 9)),
        "orientation in words": exif(entry(0x0112, 2, 4, 0x64636261)),
        "many": exif(*[entry(0x8769, 4, 1, 8)] * 5000),
        "many texts": exif(*[entry(tag, 2, 4, 0x64636261) for tag in range(5000)]),
    }
    deep = b"".join(exif(entry(0x8769, 4, 1, 8)) for _ in range(1000))
    for name, segment in {**segments, "a thousand": deep}.items():
        yield f"exif with {name}", good["jpeg"][:2] + segment + good["jpeg"][2:]
    endless = exif(*[entry(0x8769, 4, 1, 8)] * 5000)[10:]
    at = good["png"].find(b"IDAT") - 4
    yield "png with exif", good["png"][:at] + chunk(b"eXIf", endless) + good["png"][at:]
    image = PIL.Image.open(io.BytesIO(good["jpeg"]))
    for name in ("webp", "heif", "avif"):
        yield f"{name} with exif", encoded(image, exif=b"Exif\x00\x00" + endless, **FORMATS[name])


def of_two_kinds(good: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """What is no picture, whatever its name says, or a picture and something else."""
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/><script>alert(1)</script></svg>'
    html = b"<!doctype html><script>fetch('//evil.example')</script>"
    plain = {
        "svg": svg,
        "html": html,
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/etc/passwd) (r) file\n",
        "pdf": b"%PDF-1.7\n1 0 obj <</Type /Catalog>> endobj\n",
        "zip": b"PK\x03\x04" + bytes(60),
        "ico": encoded(PIL.Image.new("RGB", (16, 16)), format="ICO"),
        "ppm": b"P6 60000 60000 255\n",
        "mvg": b"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 'https://evil.example/x'\npop graphic-context",
        "empty": b"",
        "zeros": bytes(5000),
    }
    yield from plain.items()
    for name, content in good.items():
        yield f"{name} and html", content + html
        yield f"{name} and zip", content + plain["zip"]
        yield f"html and {name}", html + content
        yield f"gif and {name}", b"GIF89a" + content


def large_texts() -> Iterator[tuple[str, bytes]]:
    """PNG whose texts and profiles grow when they are unpacked, and JPEG of endless scans."""
    packed = zlib.compress(bytes(60_000_000), 9)
    yield "png text", png(9, 9, 8, 2, chunk(b"zTXt", b"a\x00\x00" + packed))
    yield "png texts", png(9, 9, 8, 2, *[chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(1_000_000)))] * 200)
    yield "png profile", png(9, 9, 8, 2, chunk(b"iCCP", b"a\x00\x00" + packed))
    yield "png international text", png(9, 9, 8, 2, chunk(b"iTXt", b"a\x00\x01\x00\x00\x00" + packed))
    yield "many scans", with_scans(2000, 2000, 400)
    yield "some scans", with_scans(2000, 2000, 39)


def with_scans(width: int, height: int, count: int) -> bytes:
    """A progressive JPEG whose last scan comes `count` times more."""
    content = encoded(PIL.Image.new("RGB", (width, height), FLAT), format="JPEG", progressive=True, subsampling=0)
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + last * count + b"\xff\xd9"


def bombs(megapixels: float = 120) -> Iterator[tuple[str, bytes]]:
    """A flat picture in each format, of as many pixels: some kB that become hundreds of MB."""
    side = int((megapixels * 1e6) ** 0.5)
    flat = pyvips.Image.black(side, side).linear([1, 1, 1], list(FLAT)).cast("uchar").copy(interpretation="srgb")
    clear = flat.bandjoin(128)
    deep = clear.cast("ushort").linear([257], [0]).cast("ushort").copy(interpretation="rgb16")
    yield "png", flat.pngsave_buffer()
    yield "png with alpha", clear.pngsave_buffer()
    yield "deep png", deep.pngsave_buffer(bitdepth=16)
    yield "deep grey png", deep[0].copy(interpretation="grey16").pngsave_buffer(bitdepth=16)
    yield "interlaced png", clear.pngsave_buffer(interlace=True)
    yield "deep interlaced png", deep.pngsave_buffer(interlace=True, bitdepth=16)
    yield "jpeg", flat.jpegsave_buffer()
    yield "progressive jpeg", flat.jpegsave_buffer(interlace=True, subsample_mode="off")
    if side < 16_384:
        yield "webp", flat.webpsave_buffer(effort=0)
        yield "lossless webp", clear.webpsave_buffer(lossless=True, effort=0)
    yield "avif", flat.heifsave_buffer(compression="av1", effort=0)
    yield "deep avif", deep.heifsave_buffer(compression="av1", effort=0, bitdepth=10, subsample_mode="off")
    pixels = PIL.Image.new("RGB", (side, side), FLAT)
    yield "heif", encoded(pixels, format="HEIF", quality=20, enc_params={"preset": "ultrafast"})
    frames = [PIL.Image.new("RGBA", (side // 2, side // 2), colour) for colour in ("red", "green")]
    yield "moving webp", encoded(frames[0], format="WEBP", save_all=True, append_images=frames[1:], method=0)


def everything(good: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """All that is quickly made: some hundred files."""
    yield from truncated(good)
    yield from random_headers(good, 30)
    yield from huge_sizes(good)
    yield from nested_exif(good)
    yield from of_two_kinds(good)
    yield from large_texts()
