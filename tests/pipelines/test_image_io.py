import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms, PngImagePlugin, TiffImagePlugin

from pipelines import image_io
from portrait.arrays import Image, Size
from portrait.errors import UserError
from tests import selfies


def encoded(image: Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, format, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def photo() -> Image:
    return np.ascontiguousarray(selfies.astronaut()[:300, 100:340])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "GIF", "BMP"])
def test_reads_what_phones_and_cameras_write(photo: Image, format: str) -> None:
    selfie = image_io.decode(encoded(photo, format, quality=95), "a.bin")
    assert selfie.image.shape == photo.shape
    assert selfie.scale == 1
    assert np.abs(selfie.image.astype(int) - photo).mean() < (12 if format == "GIF" else 6)
    small = image_io.decode(encoded(photo, format, quality=95), "a.bin", 100)
    assert max(small.image.shape) == 100


@pytest.mark.parametrize("mode", ["CMYK", "L", "LA", "P", "I;16", "I;16B", "RGBA"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_tiff_is_read_in_the_modes_of_scanners(photo: Image, mode: str, compression: str | None) -> None:
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    deep = (grey.astype(np.uint16) * 257).astype(">u2" if mode == "I;16B" else "<u2").tobytes()
    picture = PIL.Image.fromarray(photo)
    picture = PIL.Image.frombytes(mode, picture.size, deep) if mode.startswith("I") else picture.convert(mode)
    file = io.BytesIO()
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274] = 6
    picture.transpose(PIL.Image.Transpose.ROTATE_90).save(file, "TIFF", compression=compression, tiffinfo=tags)
    image = image_io.decode(file.getvalue(), "a").image
    assert image_io.probe(io.BytesIO(file.getvalue())).size == Size(240, 300)
    expected = photo if mode in ("CMYK", "P", "RGBA") else np.repeat(grey[..., None], 3, axis=2)
    assert np.abs(image.astype(int) - expected).mean() < (20 if mode == "P" else 6)


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


@pytest.mark.parametrize(("format", "modes"), [("PNG", "RGB RGBA P LA"), ("WEBP", "RGB RGBA"), ("TIFF", "RGB RGBA P")])
def test_a_profile_counts_with_transparency_and_palettes_too(photo: Image, format: str, modes: str) -> None:
    more = {"lossless": True} if format == "WEBP" else {}
    for mode in modes.split():
        # A grey profile of twice the usual gamma, or colours that are the other way round.
        other = swapped_profile() if mode != "LA" else grey_profile()
        picture = PIL.Image.fromarray(photo)
        picture = picture.quantize(64) if mode == "P" else picture.convert(mode)
        plain, tagged = io.BytesIO(), io.BytesIO()
        picture.save(plain, format, **more)
        picture.save(tagged, format, icc_profile=other, **more)
        before = image_io.decode(plain.getvalue(), "a").image.astype(int)
        after = image_io.decode(tagged.getvalue(), "a").image.astype(int)
        if mode == "LA":
            assert before.mean() - after.mean() > 20, "a larger gamma is darker"
        else:
            assert np.abs(after - before[..., ::-1]).mean() < 4, f"red and blue are exchanged in {mode}"


def swapped_profile() -> bytes:
    """sRGB with its red and blue primaries exchanged."""
    whole = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    whole = whole.replace(b"rXYZ", b"tmpX").replace(b"bXYZ", b"rXYZ").replace(b"tmpX", b"bXYZ")
    return bytes(whole).replace(b"s\x00R\x00G\x00B", b"o\x00t\x00h\x00r").replace(b"sRGB", b"oth ")


def grey_profile() -> bytes:
    """A grey profile of a gamma of 4, by the parts that ICC asks for."""
    tags = {
        b"wtpt": b"XYZ \0\0\0\0" + bytes.fromhex("0000f6d6000100000000d32d"),
        b"kTRC": b"curv\0\0\0\0" + (1).to_bytes(4, "big") + (4 * 256).to_bytes(2, "big") + b"\0\0",
        b"desc": b"desc\0\0\0\0" + (5).to_bytes(4, "big") + b"grey\0" + bytes(78 + 1),
    }
    table, content, at = len(tags).to_bytes(4, "big"), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + (at + len(content)).to_bytes(4, "big") + len(value).to_bytes(4, "big")
        content += value + bytes(-len(value) % 4)
    head = bytes(4) + b"lcms" + bytes.fromhex("02400000") + b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    head += bytes.fromhex("0000f6d6000100000000d32d") + bytes(48)
    return (128 + len(table) + len(content)).to_bytes(4, "big") + head[4:128] + table + content


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_its_last_two_bytes_alone_is_whole(photo: Image, progressive: bool) -> None:
    whole = encoded(photo, "JPEG", progressive=progressive)
    assert whole.endswith(b"\xff\xd9")
    for side in (None, 100):
        expected = image_io.decode(whole, "a", side).image.astype(int)
        assert np.abs(image_io.decode(whole[:-2], "a", side).image - expected).mean() < 2


def test_packed_texts_and_long_xmp_of_a_png_are_not_looked_at(photo: Image) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("history", "x" * 20_000_000, zip=True)
    texts.add_itxt("notes", "y" * 20_000_000, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", "z" * 3_000_000)
    content = encoded(photo, "PNG", pnginfo=texts)
    assert (image_io.decode(content, "a").image == photo).all()
    assert image_io.probe(io.BytesIO(content)).size.width == 240


def bomb() -> bytes:
    """A PNG whose header claims 60,000 × 60,000 pixels, and a first piece of them."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    head = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000)))


def raw_tiff(photo: Image) -> bytes:
    """A TIFF as cameras write raw data: its first picture is a thumbnail."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254], tags[50706] = 1, b"\x01\x04\x00\x00"
    return encoded(photo[:60, :80], "TIFF", tiffinfo=tags)


def float_tiff(photo: Image) -> bytes:
    """A TIFF of numbers that are no colours."""
    file = io.BytesIO()
    PIL.Image.fromarray(photo[..., 0].astype(np.float32)).save(file, "TIFF")
    return file.getvalue()


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
        "half a gif": encoded(photo, "GIF")[:5000],
        "half a tiff": encoded(photo, "TIFF")[:5000],
        "half a bmp": encoded(photo, "BMP")[:5000],
        "a jpeg that is cut, and has no end": jpeg[: len(jpeg) * 9 // 10],
        "a float tiff": float_tiff(photo),
        "raw data of a camera": raw_tiff(photo),
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
    assert "larger than 80 MB" in caught.value.message, "and not of its pixels"


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
