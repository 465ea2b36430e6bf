"""Memory of decoding, bounds by format, thumbnails, and what hostile files cost."""

import io
import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import pyvips

from pipelines import decoders, image_io, pictures
from portrait.arrays import Image
from portrait.errors import UserError
from tests import hostile_pictures, selfies

MEGAPIXELS = 16
MEASURE = """
import json, sys
from pathlib import Path
from pipelines import image_io, pictures

def state(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))

found = {}
files = sorted(Path(sys.argv[1]).iterdir())
for path in [files[-1], *files]:  # what libraries load at first is not a picture's
    for name, read in (("full", image_io.read), ("thumbnail", lambda file: pictures.thumbnail(file, 480))):
        Path("/proc/self/clear_refs").write_text("5")
        before = state("VmRSS")
        read(path)
        found[f"{path.stem} {name}"] = (state("VmHWM") - before) / 1e6
print(json.dumps(found))
"""
"""Megabytes at the peak of each file, full and as a thumbnail, in a process of its own."""


@pytest.fixture(scope="module")
def photo() -> Image:
    return np.ascontiguousarray(selfies.astronaut()[:501, :333])


@pytest.fixture(scope="module")
def good() -> dict[str, bytes]:
    """A photo in each format."""
    return hostile_pictures.photos(400)


def encoded(image: Image | PIL.Image.Image, format: str, **options: object) -> bytes:
    picture = image if isinstance(image, PIL.Image.Image) else PIL.Image.fromarray(image)
    return hostile_pictures.encoded(picture, format=format, **options)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are Linux's")
def test_a_picture_takes_six_bytes_a_pixel_at_most(tmp_path: Path) -> None:
    side = int((MEGAPIXELS * 1e6) ** 0.5)
    flat = pyvips.Image.black(side, side).linear([1, 1, 1], [90, 120, 60]).cast("uchar").copy(interpretation="srgb")
    deep = flat.cast("ushort").linear([257], [0]).cast("ushort").copy(interpretation="rgb16")
    flat.jpegsave(str(tmp_path / "jpeg"), Q=85)
    flat.pngsave(str(tmp_path / "rgb"))
    flat.bandjoin(128).pngsave(str(tmp_path / "rgba"))
    deep.pngsave(str(tmp_path / "deep"), bitdepth=16)
    deep[0].copy(interpretation="grey16").pngsave(str(tmp_path / "deep_grey"), bitdepth=16)
    ran = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert len(found) == 10
    assert {name for name, megabytes in found.items() if megabytes > 6 * MEGAPIXELS} == set()
    assert {name for name, megabytes in found.items() if "thumbnail" in name and megabytes > 3 * MEGAPIXELS} == set()


@pytest.mark.parametrize(
    ("kind", "weight", "megapixels"),
    [
        ("jpeg", decoders.JPEG, 120),
        ("progressive", decoders.BUFFERED_JPEG, 72),
        ("png", decoders.PNG, 120),
        ("webp", decoders.WEBP, 80),
        ("heif", decoders.HEIF, 96),
        ("avif", decoders.AVIF, 26),
        ("tiff", decoders.WHOLE, 60),
        ("gif", decoders.WHOLE, 60),
        ("bmp", decoders.WHOLE, 60),
    ],
)
def test_no_picture_may_take_more_than_800_megabytes(
    good: dict[str, bytes], kind: str, weight: decoders.Weight, megapixels: int
) -> None:
    picture = decoders.open_picture(good[kind])
    assert picture.weight == weight
    most = min(pictures.MAX_PIXELS, pictures.MAX_MEMORY / weight.full, pictures.MAX_REDUCED_MEMORY / weight.reduced)
    assert int(most / 1e6) == megapixels
    assert most * weight.full <= 800e6


def test_what_is_held_whole_has_fewer_pixels(photo: Image) -> None:
    plain, deep = encoded(photo, "PNG"), cv2.imencode(".png", photo.astype(np.uint16) * 257)[1].tobytes()
    for content, weight in ((plain, decoders.INTERLACED), (deep, decoders.INTERLACED_DEEP)):
        interlaced = pyvips.Image.pngload_buffer(content).pngsave_buffer(interlace=True)
        assert decoders.open_picture(interlaced).weight == weight
        assert (image_io.decode(interlaced, "a").image == image_io.decode(content, "a").image).all()
    # A JPEG that is not progressive may come in several scans too.
    scans = encoded(photo, "JPEG")
    at = scans.find(b"\xff\xda")
    assert decoders.open_picture(scans[: at + 4] + b"\x01" + scans[at + 5 :]).weight == decoders.BUFFERED_JPEG
    moving = encoded(photo, "WEBP", save_all=True, append_images=[PIL.Image.new("RGB", (333, 501))])
    assert decoders.open_picture(moving).weight == decoders.ANIMATED_WEBP


@pytest.mark.parametrize(
    "kind", ["png with exif", "webp with exif", "heif with exif", "avif with exif", "exif with many"]
)
def test_exif_of_thousands_of_entries_takes_no_time(good: dict[str, bytes], kind: str, tmp_path: Path) -> None:
    content = dict(hostile_pictures.nested_exif(good))[kind]
    (tmp_path / "a").write_bytes(content)
    began = time.process_time()
    image_io.decode(content, "a")
    pictures.thumbnail(tmp_path / "a", 64)
    assert time.process_time() - began < 1.5, "seconds were a denial of service"


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    assert image_io.decode(hostile_pictures.with_scans(64, 64, 0), "a").image.shape == (64, 64, 3)
    with pytest.raises(UserError) as caught:
        image_io.probe(io.BytesIO(hostile_pictures.with_scans(64, 64, 400)))
    assert caught.value.code == "unreadable"


def test_texts_of_a_png_are_not_unpacked_and_its_profile_is_bounded() -> None:
    for name, content in hostile_pictures.large_texts():
        if name == "png profile":
            with pytest.raises(UserError):
                image_io.decode(content, "a")
        elif name.startswith("png"):
            tracemalloc.start()
            assert image_io.decode(content, "a").image.shape == (9, 9, 3)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 5e6, "60 MB and more when they are unpacked"


def test_exif_behind_the_pixels_of_a_png_turns_it(photo: Image) -> None:
    exif = PIL.Image.Exif()
    exif[decoders.ORIENTATION] = 6
    content = encoded(photo, "PNG")
    turned = content[:-12] + hostile_pictures.chunk(b"eXIf", exif.tobytes()[6:]) + content[-12:]
    assert (image_io.decode(turned, "a").image == np.rot90(photo, -1)).all()
    size = image_io.probe(io.BytesIO(turned)).size
    assert (size.width, size.height) == (501, 333), "the header says the same"


def test_a_photo_with_further_pictures_behind_it_is_a_jpeg(photo: Image) -> None:
    content = encoded(photo, "MPO", save_all=True, append_images=[PIL.Image.fromarray(photo[::-1].copy())])
    assert image_io.probe(io.BytesIO(content)).format == "JPEG"
    assert image_io.decode(content, "a").image.shape == photo.shape


@pytest.mark.parametrize("kind", list(hostile_pictures.FORMATS))
@pytest.mark.parametrize("side", [64, 200, 2048])
def test_a_thumbnail_is_the_picture_made_small(good: dict[str, bytes], kind: str, side: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(good[kind])
    made = pictures.thumbnail(tmp_path / "a", side)
    expected = image_io.read(tmp_path / "a", side).image
    assert made is not None
    assert made.shape == expected.shape
    assert np.abs(made.astype(int) - expected).mean() < 6
    assert pictures.thumbnail(tmp_path / "a", side, 100) is None, "it would take more than that"


def test_strips_meet_without_a_seam(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 255, 3000).astype(np.uint8)[:, None, None], 2500, axis=1).repeat(3, axis=2)
    (tmp_path / "a").write_bytes(encoded(ramp, "PNG", compress_level=1))
    assert (image_io.read(tmp_path / "a").image == ramp).all()
    made = pictures.thumbnail(tmp_path / "a", 300)
    assert made is not None
    assert made.shape == (300, 250, 3)
    assert np.abs(np.diff(made[:, 0, 0].astype(int))).max() <= 2
    assert np.ptp(made, axis=1).max() <= 1
