"""JPEG XL and DNG: read by the extra `formats`, bounded by their headers, and told by name where the extra is missing."""

import io
import sys
from typing import Any

import numpy as np
import PIL.Image
import pillow_jxl  # noqa: F401 -- registers the format
import pytest

from pipelines import image_io, pictures
from pipelines.decoders import extra
from portrait.arrays import Image, Size
from portrait.errors import UserError
from tests import raw_photos, selfies


def jxl(image: Image, **options: Any) -> bytes:
    content = io.BytesIO()
    PIL.Image.fromarray(image).save(content, "JXL", **options)
    return content.getvalue()


SMALL = np.asarray(selfies.astronaut()[::4, ::4])
FILES = {"JPEG XL": jxl(SMALL), "DNG": raw_photos.dng(SMALL)}


@pytest.mark.parametrize("format", FILES)
def test_a_photo_is_read_as_it_looks(format: str) -> None:
    selfie = image_io.decode(FILES[format], "photo")
    assert selfie.image.shape == SMALL.shape
    # Raw colours are interpolated between pixels, and brightened as LibRaw does.
    assert np.corrcoef(selfie.image.ravel(), SMALL.ravel())[0, 1] > (0.99 if format == "JPEG XL" else 0.9)
    assert image_io.decode(FILES[format], "photo", 64).image.shape == (64, 64, 3)


def test_a_raw_photo_is_turned_upright() -> None:
    lying = raw_photos.dng(np.ascontiguousarray(np.rot90(SMALL[:, :96])), orientation=6)
    upright = image_io.decode(lying, "photo").image
    assert upright.shape == (128, 96, 3)
    assert np.corrcoef(upright.ravel(), SMALL[:, :96].ravel())[0, 1] > 0.9


def test_of_a_large_raw_photo_one_pixel_is_made_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "HALVED", SMALL.shape[0] * SMALL.shape[1] - 1)
    assert image_io.decode(FILES["DNG"], "photo").image.shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((8, 8), {}),
        ((256, 128), {}),
        ((300, 437), {}),
        ((1920, 1080), {}),
        ((1, 3000), {}),
        ((437, 300), {"use_container": True}),
    ],
)
def test_the_size_of_jpeg_xl_is_read_from_its_header(size: tuple[int, int], options: dict[str, Any]) -> None:
    content = jxl(np.zeros((size[1], size[0], 3), np.uint8), **options)
    assert extra.jxl_size(content[:100]) == Size(*size)


def claiming(width: int, height: int) -> bytes:
    """JPEG XL whose header claims so many pixels: lengths of 30 bits each."""
    bits = 0 | 3 << 1 | (height - 1) << 3 | 0 << 33 | 3 << 36 | (width - 1) << 38 | 1 << 68
    return b"\xff\x0a" + bits.to_bytes(40, "little")


def test_what_claims_too_many_pixels_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "decode_jxl", lambda content: pytest.fail("it was decoded"))
    with pytest.raises(UserError) as found:
        image_io.decode(claiming(20_000, 20_000), "photo")
    assert found.value.code == "too_large"
    monkeypatch.setattr(pictures, "MAX_MEMORY", 100)
    with pytest.raises(UserError) as found:
        image_io.decode(FILES["DNG"], "photo")
    assert found.value.code == "too_large"


@pytest.mark.parametrize(("format", "module"), [("JPEG XL", "pillow_jxl"), ("DNG", "rawpy")])
def test_without_the_extra_it_is_named(format: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError) as found:
        image_io.decode(FILES[format], "photo")
    assert found.value.code == "format_missing"
    assert format in found.value.message
    assert "portrait[formats]" in found.value.message


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_what_is_cut_off_is_unreadable() -> None:
    for content in FILES.values():
        with pytest.raises(UserError) as found:
            image_io.decode(content[: len(content) // 3], "photo")
        assert found.value.code == "unreadable"
