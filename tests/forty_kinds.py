"""A folder as people have it: some forty kinds of files in four folders within each other, with names of every sort."""

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pillow_jxl  # noqa: F401 -- registers the format with Pillow
from PIL import ImageCms, PngImagePlugin

from portrait.arrays import Image
from tests import hostile_pictures, raw_photos, selfies

READ, PASSED_OVER = "read", "passed over"
FOLDERS = ("", "2024", "2024/May “trip”", "2024/May “trip”/from phone\nof mum")
SIDE = 96


@dataclass(frozen=True)
class Kind:
    """One file, and what becomes of it: `READ`, the code of its refusal, or `PASSED_OVER`."""

    name: str
    content: bytes
    answer: str


def write(folder: Path) -> list[Kind]:
    """Write all of them; returns those that are to be told of, with their names from the folder on."""
    told = []
    for number, kind in enumerate(_kinds()):
        place = FOLDERS[number % len(FOLDERS)] if "/" not in kind.name else ""
        file = folder / place / kind.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(kind.content)
        told.append(Kind(file.relative_to(folder).as_posix(), kind.content, kind.answer))
    for name in (".DS_Store", "2024/._IMG_0001.jpg", "__MACOSX/IMG_0001.jpg", "@eaDir/a.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"left behind by a system, and told to nobody")
    (folder / "2024" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "gone.jpg").symlink_to(folder / "nothing.jpg")
    (folder / "empty folder").mkdir()
    return told


def _kinds() -> Iterator[Kind]:
    yield from _formats()
    yield from _names()
    yield from _broken()
    yield from _others()


def _formats() -> Iterator[Kind]:
    """Every format that is read, in its modes."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_text("history", "x" * 2_000_000, zip=True)
    frames = {"save_all": True, "append_images": [_photo(90)]}
    yield Kind("plain.jpg", selfies.jpeg(selfies.astronaut()), READ)
    yield Kind("progressive.jpeg", _encoded("JPEG", 1, progressive=True), READ)
    yield Kind("print.jpg", _encoded("JPEG", 2, "CMYK"), READ)
    yield Kind("grey.jpg", _encoded("JPEG", 3, "L"), READ)
    yield Kind("cut out.png", _encoded("PNG", 4, "RGBA", icc_profile=srgb), READ)
    yield Kind("packed text.png", _encoded("PNG", 5, pnginfo=text), READ)
    yield Kind("palette.png", _encoded("PNG", 6, "P"), READ)
    yield Kind("scan.tif", _encoded("TIFF", 7, compression="tiff_lzw"), READ)
    yield Kind("deep.tiff", _deep(), READ)
    yield Kind("old.bmp", _encoded("BMP", 8), READ)
    yield Kind("moving.gif", _encoded("GIF", 9, "P", **frames), READ)
    yield Kind("web.webp", _encoded("WEBP", 10), READ)
    yield Kind("moving.webp", _encoded("WEBP", 11, **frames), READ)
    yield Kind("small.avif", _encoded("AVIF", 12, speed=10), READ)
    yield Kind("phone.heic", _encoded("HEIF", 13), READ)
    yield Kind("new.jxl", _encoded("JXL", 14), READ)
    yield Kind("raw.dng", raw_photos.dng(np.asarray(_photo(15))), READ)


def _names() -> Iterator[Kind]:
    """Photos whose names are what is odd about them."""
    names = (
        "a.jpg",
        "A.JPG",
        "\u00e9t\u00e9.jpg",
        "e\u0301te\u0301.jpg",
        "without",
        "'quote\" & <b>.jpg",
        "\u200f\u0645.jpg",
        "🎉 `$x` .png",
    )
    for number, name in enumerate(names):
        yield Kind(f"names/{name}", _encoded("JPEG", 20 + number), READ)
    yield Kind("names/" + os.fsdecode(b"\xff\xfe.jpg"), _encoded("JPEG", 30), READ)
    yield Kind("camera/100/IMG_0001.jpg", _encoded("JPEG", 31), READ)
    yield Kind("camera/101/IMG_0001.jpg", _encoded("JPEG", 32), READ)
    yield Kind("really png.jpg", _encoded("PNG", 33), READ)
    yield Kind("really heic.jpg", _encoded("HEIF", 34), READ)


def _broken() -> Iterator[Kind]:
    """What is called a picture and is none, or more than one may be."""
    whole = _encoded("JPEG", 40)
    yield Kind("without its end.jpg", _encoded("JPEG", 41)[:-2], READ)
    yield Kind("cut off.jpg", whole[: len(whole) // 2], "unreadable")
    yield Kind("empty.jpg", b"", "unreadable")
    yield Kind("text.jpg", b"no photo", "unreadable")
    yield Kind("page.png", b"<!doctype html><script>alert(1)</script>", "unreadable")
    yield Kind("huge.png", hostile_pictures.png(60_000, 60_000), "too_large")


def _others() -> Iterator[Kind]:
    """What lies beside photos."""
    jpeg = _encoded("JPEG", 50)
    yield Kind("IMG_0002.HEIC", _encoded("HEIF", 51), READ)  # a live photo with its film and its edits
    for name in (
        "IMG_0002.MOV",
        "IMG_0002.AAE",
        "IMG_0002.HEIC.json",
        "Thumbs.db",
        "film.mp4",
        "list.pdf",
        "drawing.svg",
        "raw.CR2",
    ):
        yield Kind(name, b"something else", PASSED_OVER)
    yield Kind("notes", b"no ending, and no photo", PASSED_OVER)
    yield Kind(
        "album.zip",
        packed({"one.jpg": jpeg, "more/inner.zip": packed({"x.jpg": jpeg}), "read me.txt": b"x"}),
        PASSED_OVER,
    )


def packed(files: dict[str, bytes]) -> bytes:
    """A zip."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, each in files.items():
            archive.writestr(name, each)
    return content.getvalue()


def _photo(number: int) -> PIL.Image.Image:
    """A small photo; each number gives another."""
    photo = PIL.Image.fromarray(selfies.astronaut()).resize((SIDE, SIDE))
    return photo.rotate(number / 4, fillcolor=(number * 5 % 255, 90, 120))


def _encoded(format: str, number: int, mode: str = "RGB", **options: object) -> bytes:
    content = io.BytesIO()
    _photo(number).convert(mode).save(content, format, **options)
    return content.getvalue()


def _deep() -> bytes:
    values: Image = np.asarray(_photo(60).convert("L"))
    content = io.BytesIO()
    PIL.Image.fromarray(values.astype(np.uint16) * 257).save(content, "TIFF")
    return content.getvalue()
