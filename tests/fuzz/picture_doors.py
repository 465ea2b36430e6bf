"""Doors for pictures: each format that is read, folders and zips of photos, and what `verify` and `remake` read in one."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from hypothesis import strategies as st
from PIL import ImageCms, PngImagePlugin

from app.terminal.photos import collect_photos, find_photos
from pipelines import image_io, pictures
from pipelines.deliver import read_recipe
from pipelines.marks import verify, xmp
from pipelines.marks.trust import Trust
from tests import hostile_pictures, raw_photos, selfies
from tests.fuzz.entering import Door
from tests.fuzz.mutations import TEXTS, altered, spoilt, with_checksums

SIDE = 48
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RECIPE: dict[str, Any] = {"people": {"1": "set-1"}, "style": {"id": "studio-grey", "version": 1}, "seed": 1, "count": 1}
PICTURES = int(pictures.MAX_MEMORY * 1.1)
"""Bytes that decoding one picture may take: what is promised of the largest, with what libraries hold beside it."""


def _photo(mode: str) -> PIL.Image.Image:
    photo = PIL.Image.fromarray(np.asarray(selfies.astronaut()[::8, ::8]))
    return photo.resize((SIDE, SIDE - 7)).convert(mode)


def _exif() -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    return exif


def whole(format: str) -> list[bytes]:
    """Small pictures of one format in its kinds: modes, depths, with and without profile, EXIF, XMP and text."""
    notes: dict[str, Any] = {"exif": _exif(), "icc_profile": SRGB}
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 400, zip=True)
    kinds: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "JPEG": [("RGB", notes), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True, "subsampling": 0})],
        "PNG": [("RGB", {"pnginfo": text, **notes}), ("RGBA", {}), ("P", {"transparency": 3}), ("1", {}), ("I;16", {})],
        "WEBP": [("RGB", {"xmp": xmp.packet("compositeSynthetic", RECIPE), **notes}), ("RGBA", {"lossless": True})],
        "HEIF": [("RGB", notes), ("RGBA", {}), ("L", {})],
        "AVIF": [("RGB", {"speed": 10, **notes}), ("RGBA", {"speed": 10})],
        "TIFF": [
            ("RGB", {"compression": "tiff_lzw", **notes}),
            ("CMYK", {}),
            ("I;16", {}),
            ("1", {"compression": "group4"}),
        ],
        "GIF": [("P", {}), ("L", {"save_all": True, "append_images": [_photo("L")]})],
        "BMP": [("RGB", {}), ("P", {}), ("1", {})],
    }
    made = [_encoded(mode, format, options) for mode, options in kinds[format]]
    return made + ([hostile_pictures.png(SIDE, SIDE, 16, 6)] if format == "PNG" else [])


def _encoded(mode: str, format: str, options: dict[str, Any]) -> bytes:
    content, photo = io.BytesIO(), _photo("L" if mode == "I;16" else mode)
    if mode == "I;16":
        photo = PIL.Image.fromarray(np.asarray(photo, np.uint16) * 257)
    photo.save(content, format, **options)
    return content.getvalue()


def _decode(content: bytes, folder: Path) -> None:
    """Whatever the program does with a picture, by what its content happens to be: each takes the same bytes."""
    way = sum(content) % 5
    if way == 0:
        image_io.probe(io.BytesIO(content))
        image_io.decode(content, "photo")
    elif way == 1:
        image_io.decode(content, "photo", 20)
    else:
        file = folder / "photo"
        file.write_bytes(content)
        read = (image_io.read, image_io.read_mask, lambda path: pictures.thumbnail(path, 20))[way - 2]
        read(file)


def _formats() -> list[Door]:
    doors = []
    for format in ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "GIF", "BMP"):
        inputs = spoilt(whole(format))
        if format == "PNG":
            inputs |= inputs.map(with_checksums)
        doors.append(Door(format.lower(), inputs, _decode, growth=PICTURES, share=0.4 if format == "AVIF" else 1))
    import pillow_jxl  # noqa: F401 -- registers the format

    raw, xl = raw_photos.dng(np.asarray(_photo("RGB"))[:40]), io.BytesIO()
    _photo("RGB").save(xl, "JXL", use_container=True)
    bare = io.BytesIO()
    _photo("RGBA").save(bare, "JXL", lossless=True)
    doors.append(Door("jpeg xl", spoilt([xl.getvalue(), bare.getvalue()]), _decode, share=0.4, growth=PICTURES))
    doors.append(Door("dng", spoilt([raw]), _decode, share=0.4, growth=PICTURES))
    return doors


def _zip(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, each in files.items():
            archive.writestr(name, each, zipfile.ZIP_DEFLATED)
    return content.getvalue()


NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        ("a.jpg", "A.JPG", "../a.jpg", "/a.png", "b/../../a.jpg", "a/b/c.heic", ".a.jpg", "a" * 300 + ".jpg")
    ),
    st.sampled_from(("a.jpg/", "a.jpg/b.jpg", "con.jpg", "a\\b.jpg", "a.zip", "__MACOSX/a.jpg", "a\udcff.jpg")),
)


def _collect(given: tuple[bytes, list[str]], folder: Path) -> None:
    packed, names = given
    file = folder / "photos.zip"
    file.write_bytes(packed)
    with collect_photos([file]) as photos:
        for each in photos.files:
            assert each.is_file()
        find_photos(names, photos.files)


def _zips() -> Door:
    jpeg = whole("JPEG")[0]
    some = _zip({"a.jpg": jpeg, "b/c.jpg": jpeg, "notes.txt": b"x", "d/e.zip": _zip({"f.jpg": jpeg})})
    nameless = some.replace(b"a.jpg", b"\0.jpg")
    made = st.dictionaries(NAMES.filter(bool).map(_plain), st.sampled_from((jpeg, b"", b"x")), max_size=6).map(_zip)
    return Door(
        "zip of photos", st.tuples(spoilt([some]) | made, st.lists(NAMES, max_size=2)), _collect, kept=((nameless, []),)
    )


def _plain(name: str) -> str:
    """A name that Python writes into a zip."""
    return name.encode("utf-8", "replace").decode("utf-8").replace("\0", "0")


def _verify(content: bytes, folder: Path) -> None:
    file = folder / "picture"
    file.write_bytes(content)
    verify.verify(file, Trust())


def _read_recipe(tree: Any, folder: Path) -> None:
    file = folder / "portrait.jpg"
    packet = xmp.packet("compositeSynthetic", tree if isinstance(tree, dict) else {"recipe": tree})
    _photo("RGB").save(file, "JPEG", xmp=packet[: xmp.MAX_JPEG_PACKET])
    read_recipe(file)


def _marked() -> list[bytes]:
    import tempfile

    from pipelines import deliver
    from pipelines.marks.marks import open_marks
    from pipelines.settings import MarkSettings
    from tests.marked_files import portrait

    with tempfile.TemporaryDirectory() as folder:
        marks = open_marks(MarkSettings(Path(folder) / "marks"))
        image = np.asarray(_photo("RGB"))
        return [deliver.encode(portrait(image), format, marks, "id") for format in deliver.FORMATS]


def doors() -> list[Door]:
    """All of them."""
    marked = spoilt(_marked(), TEXTS)
    return [
        *_formats(),
        _zips(),
        Door("picture to be verified", marked, _verify, share=0.3, growth=PICTURES),
        Door("recipe in a picture", altered([RECIPE]), _read_recipe, share=0.3),
    ]
