"""The invisible mark on six portraits and what people do to them; tests/benchmarks/test_invisible_marks.py has the forty."""

import tracemalloc
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
import skimage.data

from pipelines.marks import invisible
from pipelines.marks.invisible import Payload, embed, read, short_id
from portrait.arrays import Image, Size
from portrait.images.masks import composite
from portrait.studio import backdrops
from tests import rooms

OURS = Payload(0xBEEF, 0x12345678)
SIZES = (Size(1024, 1280), Size(512, 640))
PORTRAITS = (
    ("astronaut", "studio-white", SIZES[0]),
    ("player", "studio-black", SIZES[0]),
    ("astronaut", "studio-warm", Size(768, 960)),
    ("player", "studio-grey", SIZES[1]),
    ("astronaut", "studio-bricks", SIZES[1]),
    ("player", "studio-rose", Size(1280, 1024)),
)


@cache
def subject(name: str) -> rooms.Subject:
    return rooms.subject(name)


@cache
def drawn(name: str, backdrop: str, size: Size) -> Image:
    """A person before a backdrop, standing on the lower edge."""
    person, picture = subject(name), backdrops.paint(backdrop, size, 1)
    height, width = person.alpha.shape
    scale = 0.8 * min(size.height / height, size.width / width)
    cut = cv2.resize(person.colours, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    alpha = cv2.resize(person.alpha, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC).clip(0, 1)
    left = (size.width - cut.shape[1]) // 2
    place = slice(size.height - cut.shape[0], size.height), slice(left, left + cut.shape[1])
    picture = np.array(picture)
    picture[place] = composite(np.asarray(cut, np.uint8), picture[place], np.asarray(alpha, np.float32))
    return picture


@cache
def delivered(name: str, backdrop: str, size: Size) -> Image:
    return jpeg(embed(drawn(name, backdrop, size), OURS), 95)


def jpeg(image: Image, quality: int) -> Image:
    return packed(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)


def packed(image: Image, kind: str, *options: int) -> Image:
    """Written to a file and read again."""
    file = cv2.imencode(kind, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1]
    opened = cv2.imdecode(file, cv2.IMREAD_COLOR)
    assert opened is not None
    return np.asarray(cv2.cvtColor(opened, cv2.COLOR_BGR2RGB), np.uint8)


def resized(image: Image, scale: float, how: int = cv2.INTER_LINEAR) -> Image:
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=how), np.uint8)


def cropped(image: Image, top: float, right: float, bottom: float, left: float) -> Image:
    """Without these shares of each side."""
    height, width = image.shape[:2]
    rows = slice(round(height * top), round(height * (1 - bottom)))
    return np.ascontiguousarray(image[rows, round(width * left) : round(width * (1 - right))])


CHANGES: dict[str, Callable[[Image], Image]] = {
    "as it is": lambda image: image,
    "JPEG 60": lambda image: jpeg(image, 60),
    "half size": lambda image: resized(image, 0.5, cv2.INTER_AREA),
    "screenshot, smaller": lambda image: resized(image, 0.8),
    "screenshot, larger": lambda image: resized(image, 1.25),
    "5 % of each side cut off": lambda image: cropped(image, 0.05, 0.05, 0.05, 0.05),
    "10 % of each side cut off": lambda image: cropped(image, 0.1, 0.1, 0.1, 0.1),
    "cut off unevenly, then JPEG 75": lambda image: jpeg(cropped(image, 0.02, 0.13, 0.1, 0.01), 75),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("portrait", PORTRAITS, ids=lambda one: one[1])
def test_read_from_what_people_make_of_a_portrait(portrait: tuple[str, str, Size], change: str) -> None:
    assert read(CHANGES[change](delivered(*portrait))) == OURS


@pytest.mark.parametrize("portrait", PORTRAITS, ids=lambda one: one[1])
def test_not_seen(portrait: tuple[str, str, Size]) -> None:
    before = drawn(*portrait)
    marked = embed(before, OURS)
    assert marked.shape == before.shape
    assert marked.dtype == np.uint8
    assert cv2.PSNR(before, marked) >= 42
    # In the upper corner of the backdrop nothing but its grain hides it: it varies as rounding to whole levels does.
    corner = marked[:120, :120].astype(np.float32) - before[:120, :120]
    assert float(corner.std()) < (0.8 if portrait[1] == "studio-bricks" else 0.65)
    assert np.abs(corner).max() <= (3 if portrait[1] == "studio-bricks" else 2)


def test_same_portrait_same_pixels() -> None:
    before = drawn(*PORTRAITS[3])
    kept = before.copy()
    assert np.array_equal(embed(before, OURS), embed(before, OURS))
    assert np.array_equal(before, kept)


@pytest.mark.parametrize("payload", [Payload(0, 0), Payload(0xFFFF, 0xFFFFFFFF), Payload(0xBEEE, 0x12345678)])
def test_each_installation_and_portrait_is_told_from_others(payload: Payload) -> None:
    assert read(embed(drawn(*PORTRAITS[3]), payload)) == payload


@pytest.mark.parametrize("portrait", PORTRAITS[3:], ids=lambda one: one[1])
def test_a_new_mark_takes_the_place_of_one_that_is_there(portrait: tuple[str, str, Size]) -> None:
    before = delivered(*portrait)
    edited = before.copy()
    edited[100:260, 100:300] = edited[100:260, 100:300, ::-1]
    marked = embed(edited, Payload(7, 9))
    assert read(jpeg(marked, 85)) == Payload(7, 9)
    assert cv2.PSNR(edited, marked) >= 40
    again = embed(before, OURS)
    assert np.abs(again.astype(int) - before).max() <= 1


def test_an_id_always_has_the_same_bits() -> None:
    assert short_id("1b4e28ba-2fa1-11d2-883f-0016d3cca427") == 0xE5621D0C


def test_nothing_is_read_where_nothing_was_marked() -> None:
    random = np.random.default_rng(3)
    noise = random.integers(0, 256, (300, 400, 3), np.uint8)
    flat = np.full((300, 400, 3), 255, np.uint8)
    for picture in (drawn(*PORTRAITS[4])[:500, :500], skimage.data.astronaut()[:400, :400], noise, flat):
        assert read(np.ascontiguousarray(picture)) is None


def test_a_picture_within_another_is_found() -> None:
    marked = delivered(*PORTRAITS[0])
    framed = cv2.copyMakeBorder(marked, 60, 40, 90, 260, cv2.BORDER_CONSTANT, value=(32, 33, 36))
    assert read(np.asarray(framed, np.uint8)) == OURS


@pytest.mark.parametrize("shape", [(640, 384), (2200, 1700), (500, 1900)])
def test_every_size_is_marked(shape: tuple[int, int]) -> None:
    photo = cv2.resize(skimage.data.astronaut(), shape[::-1], interpolation=cv2.INTER_CUBIC)
    assert read(jpeg(embed(np.asarray(photo, np.uint8), OURS), 95)) == OURS


def test_paper_white_and_black_hold_it() -> None:
    for level in (0, 128, 255):
        assert read(embed(np.full((640, 512, 3), level, np.uint8), OURS)) == OURS


def test_what_is_too_small_stays_as_it_is() -> None:
    for side in (1, invisible.SMALLEST_SIDE - 1):
        small = np.full((side, 700, 3), 90, np.uint8)
        assert np.array_equal(embed(small, OURS), small)
        assert read(small) is None


def test_pictures_far_longer_than_wide_are_marked_in_their_middle() -> None:
    strip = np.asarray(cv2.resize(skimage.data.astronaut(), (6000, 400), interpolation=cv2.INTER_CUBIC), np.uint8)
    marked = embed(strip, OURS)
    assert read(marked) == OURS
    assert np.array_equal(marked[:, :2000], strip[:, :2000])


def test_a_large_picture_is_marked_without_copies_in_single_precision() -> None:
    large = np.random.default_rng(0).integers(0, 256, (1760, 2340, 3), dtype=np.uint8)
    tracemalloc.start()
    embed(large, Payload(1, 2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The result, and what the marks of all cells take.
    assert peak < large.nbytes + 12e6
