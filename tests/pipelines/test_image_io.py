import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms

from pipelines import image_io
from portrait.arrays import Image
from portrait.errors import UserError
from tests import selfies


def encoded(image: Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, format, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.fixture(scope="module")
def photo() -> Image:
    return np.ascontiguousarray(selfies.astronaut()[:300, 100:340])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
def test_reads_what_phones_and_cameras_write(photo: Image, format: str) -> None:
    selfie = image_io.decode(encoded(photo, format, quality=95), "a.bin")
    assert selfie.image.shape == photo.shape
    assert selfie.scale == 1
    assert np.abs(selfie.image.astype(int) - photo).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_once(photo: Image, orientation: int) -> None:
    upright = PIL.Image.fromarray(photo)
    undo = {
        2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
        3: PIL.Image.Transpose.ROTATE_180,
        4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
        5: PIL.Image.Transpose.TRANSPOSE,
        6: PIL.Image.Transpose.ROTATE_90,
        7: PIL.Image.Transpose.TRANSVERSE,
        8: PIL.Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, "PNG", exif=exif)
    selfie = image_io.decode(file.getvalue(), "turned.png")
    assert (selfie.image == photo).all()
    assert (selfie.native_size.width, selfie.native_size.height) == (240, 300)
    header = image_io.probe(io.BytesIO(file.getvalue()))
    assert (header.size.width, header.size.height, header.format) == (240, 300, "PNG")


def test_a_photo_reduced_while_decoding_knows_its_native_size() -> None:
    content = encoded(selfies.large(selfies.astronaut(), 2048, 1536), "JPEG")
    small = image_io.decode(content, "a.jpg", 500)
    assert small.image.shape == (375, 500, 3)
    assert (small.native_size.width, small.native_size.height) == (2048, 1536)
    assert small.scale == pytest.approx(4.096)


@pytest.mark.parametrize("mode", ["CMYK", "L", "LA", "P", "1", "I;16", "RGBA"])
def test_every_colour_mode_becomes_srgb(photo: Image, mode: str) -> None:
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    deep = PIL.Image.fromarray(grey.astype(np.uint16) * 257)
    picture = deep if mode == "I;16" else PIL.Image.fromarray(photo).convert(mode)
    file = io.BytesIO()
    picture.save(file, "JPEG" if mode == "CMYK" else "PNG")
    image = image_io.decode(file.getvalue(), "a").image
    assert image.dtype == np.uint8
    assert image.shape == photo.shape
    expected = photo if mode in ("CMYK", "P", "RGBA") else np.repeat(grey[..., None], 3, axis=2)
    assert np.abs(image.astype(int) - expected).mean() < {"1": 110, "P": 20}.get(mode, 6)


def test_transparency_lies_on_white(photo: Image) -> None:
    clear = np.dstack([photo, np.zeros(photo.shape[:2], np.uint8)])
    assert (image_io.decode(encoded(clear, "PNG"), "a").image == 255).all()
    palette = PIL.Image.fromarray(photo).quantize(8)
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=0)
    assert image_io.decode(file.getvalue(), "a").image.max() == 255


def test_colour_profile_is_applied(photo: Image) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    plain = image_io.decode(encoded(photo, "PNG"), "a").image
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (image_io.decode(encoded(photo, "PNG", icc_profile=srgb), "a").image == plain).all()
    # A profile that cannot be used is no reason to refuse the photo.
    assert (image_io.decode(encoded(photo, "PNG", icc_profile=lab.tobytes()[:60]), "a").image == plain).all()


def bomb() -> bytes:
    """A PNG whose header claims 60,000 × 60,000 pixels, and a first piece of them."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    head = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000)))


def broken(photo: Image) -> dict[str, bytes]:
    jpeg = encoded(photo, "JPEG")
    return {
        "text": b"My holiday, day one",
        "html": b"<!doctype html><html><body><img src='x.jpg'></body></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "empty": b"",
        "half a jpeg": jpeg[: len(jpeg) // 2],
        "half a png": encoded(photo, "PNG")[:5000],
        "half a webp": encoded(photo, "WEBP")[:2000],
        "half a heic": encoded(photo, "HEIF")[:2000],
        "half an avif": encoded(photo, "AVIF")[:1500],
        "a jpeg's first bytes": jpeg[:20],
        "a png's header": bomb()[:33],
        "gif": encoded(photo, "GIF"),
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }


@pytest.mark.parametrize("kind", list(broken(np.zeros((64, 64, 3), np.uint8))))
def test_what_is_no_photo_is_unreadable(photo: Image, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(broken(photo)[kind])
    with pytest.raises(UserError) as caught:
        image_io.read(path)
    assert caught.value.code == "unreadable"


def test_a_bomb_is_known_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb())
    for read in (image_io.read, image_io.probe):
        with pytest.raises(UserError) as caught:
            read(tmp_path / "bomb.png")
        assert caught.value.code == "too_large"


def test_a_huge_file_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(image_io.MAX_BYTES + 1)
    with pytest.raises(UserError) as caught:
        image_io.read(tmp_path / "huge.jpg")
    assert caught.value.code == "too_large"


def test_missing_files_and_folders_are_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.jpg", tmp_path):
        with pytest.raises(UserError) as caught:
            image_io.read(path)
        assert caught.value.code == "unreadable"


def test_same_bytes_are_the_same_selfie(photo: Image) -> None:
    content = encoded(photo, "PNG")
    assert image_io.decode(content, "a").id == image_io.decode(content, "b").id
    assert image_io.decode(content, "a").id != image_io.decode(encoded(photo[:-1], "PNG"), "a").id


def test_a_mask_counts_what_is_white_and_not_transparent(tmp_path: Path) -> None:
    painted = np.zeros((20, 30, 4), np.uint8)
    painted[:, 10:, :3], painted[:, 20:, 3], painted[:, :5, 3] = 255, 255, 255
    kinds = {"RGBA": painted, "LA": painted, "L": painted[..., 3], "1": painted[..., 3], "P": painted[..., 3]}
    for mode, pixels in kinds.items():
        file = tmp_path / f"{mode}.png"
        PIL.Image.fromarray(pixels).convert(mode).save(file)
        mask, digest = image_io.read_mask(file)
        assert mask.shape == (20, 30)
        assert len(digest) == 64
        expected = pixels[..., 0] / 255 * (pixels[..., 3] / 255) if pixels.ndim == 3 else pixels / 255
        assert np.allclose(mask, expected, atol=0.01), mode
    PIL.Image.fromarray(painted[..., 3].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.allclose(image_io.read_mask(tmp_path / "deep.png")[0], painted[..., 3] / 255, atol=0.01)
    (tmp_path / "none.png").write_bytes(b"nothing")
    for wrong in ("none.png", "absent.png"):
        with pytest.raises(UserError) as caught:
            image_io.read_mask(tmp_path / wrong)
        assert caught.value.code == "unreadable"
