"""Tests for `pipelines.decoders.libvips`."""

import io
import logging

import numpy as np
import PIL.Image
import pytest

from pipelines.decoders import libvips
from pipelines.decoders.libvips import pyvips


def spoilt_jpeg() -> bytes:
    """A JPEG whose end is missing, of which libvips warns, and decodes what there is."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    written = io.BytesIO()
    PIL.Image.fromarray(pixels).save(written, "JPEG", quality=90)
    return written.getvalue()[:-5000]


def decode(content: bytes) -> list[np.ndarray]:
    return list(libvips.rows_of(pyvips.Image.new_from_buffer(content, "", access="sequential", fail_on="none")))


def test_a_warning_reaches_neither_python_nor_the_terminal(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python inside of libvips may free a picture that warns as well, which ends the process."""
    with caplog.at_level(logging.WARNING):
        (rows,) = decode(spoilt_jpeg())
    assert rows.shape == (300, 300, 3)
    with pytest.raises(libvips.BROKEN):  # that it warns
        libvips.pyvips.Image.new_from_buffer(spoilt_jpeg(), "", fail_on="warning").copy_memory()
    assert caplog.records == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("shape", "bands"), [((5, 7, 3), 3), ((5, 7), 1), ((5, 7, 4), 4)])
def test_pixels_go_through_as_they_are(shape: tuple[int, ...], bands: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    image = libvips.image_of(pixels)
    assert (image.width, image.height, image.bands) == (7, 5, bands)
    assert np.array_equal(np.concatenate(list(libvips.rows_of(image))), pixels.reshape(5, 7, bands))


def test_strips_of_a_wide_picture_are_one_row() -> None:
    assert libvips.rows_a_strip(libvips.STRIP_PIXELS * 2) == 1
    assert libvips.rows_a_strip(1000) == 512
