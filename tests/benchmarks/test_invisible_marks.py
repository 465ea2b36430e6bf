"""What the invisible mark survives on forty portraits, beside two libraries where they are installed; docs/marks.md.

The libraries are no dependencies: `pip install --no-deps invisible-watermark blind-watermark PyWavelets` brings them.
"""

import importlib
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from skimage.metrics import structural_similarity

from pipelines.marks import carrier
from pipelines.marks.invisible import Payload, embed, read, short_id
from portrait.arrays import Image, Size
from portrait.studio import backdrops
from tests import selfies
from tests.benchmarks import studio_portraits
from tests.benchmarks.plugin import Record
from tests.pipelines.marks.test_invisible import cropped, jpeg, packed, resized

pytestmark = pytest.mark.bench
OURS = Payload(0xBEEF, short_id("a portrait"))
BITS = [int(bit) for bit in f"{OURS.tag:016b}{OURS.id:032b}"]
OTHERS = 4
"""Portraits of 1024×1280 that the libraries, seconds for each picture, are tried on."""


def tone(change: Callable[[Any], Any]) -> Callable[[Image], Image]:
    """A change of levels 0..1."""
    return lambda image: (np.clip(change(image.astype(np.float32) / 255), 0, 1) * 255).round().astype(np.uint8)


def delivered(marked: Image) -> Image:
    """As the file of a portrait has it: JPEG 95, colours at full resolution."""
    whole = cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    return packed(marked, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95, *whole)


def webp(image: Image, quality: int) -> Image:
    return packed(image, ".webp", cv2.IMWRITE_WEBP_QUALITY, quality)


def blurred(image: Image, radius: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), radius), np.uint8)


def turned(image: Image, degrees: float) -> Image:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def sharpened(image: Image) -> Image:
    return np.asarray(cv2.addWeighted(image, 1.8, blurred(image, 2), -0.8, 0), np.uint8)


def noisy(image: Image) -> Image:
    return tone(lambda levels: levels + np.random.default_rng(1).normal(0, 4 / 255, levels.shape))(image)


def framed(image: Image) -> Image:
    """On a page that shows three quarters of it."""
    high, wide = image.shape[0] // 12, image.shape[1] // 6
    return np.asarray(
        cv2.copyMakeBorder(image, high, high, wide, wide, cv2.BORDER_CONSTANT, value=(40, 41, 44)), np.uint8
    )


def grey(image: Image) -> Image:
    return np.asarray(np.dstack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3), np.uint8)


def squeezed(image: Image) -> Image:
    return np.asarray(cv2.resize(image, (round(image.shape[1] * 0.95), image.shape[0])), np.uint8)


def half(image: Image) -> Image:
    return resized(image, 0.5, cv2.INTER_AREA)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "none": lambda image: image,
    **{f"JPEG {quality}": lambda image, quality=quality: jpeg(image, quality) for quality in (95, 85, 75, 60, 40)},
    **{f"WebP {quality}": lambda image, quality=quality: webp(image, quality) for quality in (80, 50)},
    "half size": half,
    "half size, JPEG 60": lambda image: jpeg(half(image), 60),
    "half size and back": lambda image: resized(half(image), 2),
    "a quarter of the size": lambda image: resized(image, 0.25, cv2.INTER_AREA),
    "screenshot, 0.8×": lambda image: resized(image, 0.8),
    "screenshot, 1.25×": lambda image: resized(image, 1.25),
    "screenshot with a frame": framed,
    "5 % cut off each side": lambda image: cropped(image, 0.05, 0.05, 0.05, 0.05),
    "10 % cut off each side": lambda image: cropped(image, 0.1, 0.1, 0.1, 0.1),
    "cut off unevenly": lambda image: cropped(image, 0.02, 0.13, 0.1, 0.01),
    "10 % cut off, JPEG 75": lambda image: jpeg(cropped(image, 0.1, 0.1, 0.1, 0.1), 75),
    "30 % cut off each side": lambda image: cropped(image, 0.3, 0.3, 0.3, 0.3),
    "brighter by 10 %": tone(lambda levels: levels * 1.1),
    "darker by 10 %": tone(lambda levels: levels * 0.9),
    "contrast + 10 %": tone(lambda levels: (levels - 0.5) * 1.1 + 0.5),
    "contrast − 10 %": tone(lambda levels: (levels - 0.5) * 0.9 + 0.5),
    "gamma 0.8": tone(lambda levels: levels**0.8),
    "gamma 1.25": tone(lambda levels: levels**1.25),
    "black and white": grey,
    "sharpened": sharpened,
    "noise of 4 levels": noisy,
    "blurred, σ 1": lambda image: blurred(image, 1),
    "blurred, σ 2": lambda image: blurred(image, 2),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "turned by 1°": lambda image: turned(image, 1),
    "squeezed to 0.95 of its width": squeezed,
}
LOST = {"turned by 1°", "squeezed to 0.95 of its width"}
HARD = {"half size, JPEG 60", "30 % cut off each side", "WebP 50"}
"""Where some portraits may lose the mark; of all other changes none may."""


def test_what_forty_portraits_keep(figure: Record) -> None:
    kept: dict[str, list[bool]] = {name: [] for name in CHANGES}
    quality = []
    for _, image in studio_portraits.portraits():
        marked = embed(image, OURS)
        quality.append(likeness(image, marked))
        file = delivered(marked)
        for name, change in CHANGES.items():
            kept[name].append(read(np.asarray(change(file), np.uint8)) == OURS)
    decibels, similar = np.array(quality).T
    print_table("this one", decibels, similar, {name: f"{sum(hits)} of {len(hits)}" for name, hits in kept.items()})
    figure("Marked portraits: PSNR, least", decibels.min(), "dB", at_least=40)
    for name, hits in kept.items():
        if name not in LOST:
            least = 0.75 if name in HARD else 1
            figure(
                f"Marks that are read after a change: {name}", np.mean(hits), f"share of {len(hits)}", at_least=least
            )


def likeness(image: Image, marked: Image) -> tuple[float, float]:
    """PSNR in dB, and SSIM of the brightness."""
    before, after = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (image, marked))
    similar: Any = structural_similarity(before, after)
    return cv2.PSNR(image, marked), float(similar)


def print_table(name: str, decibels: Iterable[float], similar: Iterable[float], rows: dict[str, str]) -> None:
    lines = [f"| {change} | {found} |" for change, found in rows.items()]
    decibels, similar = list(decibels), list(similar)
    sys.stdout.write(
        f"\n{name}: PSNR {min(decibels):.1f} to {max(decibels):.1f}, median {statistics.median(decibels):.1f} dB; "
        f"SSIM {min(similar):.4f} to {max(similar):.4f}\n" + "\n".join(lines) + "\n"
    )


def wavelet(method: str) -> tuple[Callable[[Image], Image], Callable[[Image], list[int]]]:
    """invisible-watermark's, which takes BGR."""
    library = importlib.import_module("imwatermark")
    encoder, decoder = library.WatermarkEncoder(), library.WatermarkDecoder("bits", len(BITS))
    encoder.set_watermark("bits", BITS)
    return (
        lambda image: encoder.encode(image[..., ::-1].copy(), method)[..., ::-1],
        lambda image: [int(bit) for bit in decoder.decode(image[..., ::-1].copy(), method)],
    )


def blind() -> tuple[Callable[[Image], Image], Callable[[Image], list[int]]]:
    """blind-watermark's, which takes BGR."""
    library = importlib.import_module("blind_watermark")

    def write(image: Image) -> Image:
        mark = library.WaterMark(password_img=1, password_wm=1)
        mark.read_img(img=image[..., ::-1].copy())
        mark.read_wm([bit == 1 for bit in BITS], mode="bit")
        return np.clip(np.round(mark.embed()), 0, 255).astype(np.uint8)[..., ::-1]

    def seen(image: Image) -> list[int]:
        mark = library.WaterMark(password_img=1, password_wm=1)
        found = mark.extract(embed_img=image[..., ::-1].copy(), wm_shape=len(BITS), mode="bit")
        return [int(bit > 0.5) for bit in found]

    return write, seen


LIBRARIES = {
    "invisible-watermark, dwtDct": ("imwatermark", lambda: wavelet("dwtDct")),
    "invisible-watermark, dwtDctSvd": ("imwatermark", lambda: wavelet("dwtDctSvd")),
    "blind-watermark": ("blind_watermark", blind),
}
COMPARED = (
    *("none", "JPEG 95", "JPEG 75", "JPEG 60", "half size", "half size and back", "screenshot, 0.8×"),
    *("5 % cut off each side", "10 % cut off each side", "brighter by 10 %", "blurred, σ 1", "mirrored"),
)


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_libraries_keep(name: str) -> None:
    module, make = LIBRARIES[name]
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    write, seen = make()
    fitting = [image for _, image in studio_portraits.portraits() if image.shape[:2] == (1280, 1024)][:OTHERS]
    kept: dict[str, list[float]] = {change: [] for change in COMPARED}
    quality = []
    for image in fitting:
        marked = np.ascontiguousarray(write(image))
        quality.append(likeness(image, marked))
        file = delivered(marked)
        for change in COMPARED:
            found = seen(np.asarray(CHANGES[change](file), np.uint8))
            kept[change].append(float(np.mean(np.array(found) == BITS)))
    rows = {
        change: f"{sum(share == 1 for share in shares)} of {len(shares)}; {100 * np.mean(shares):.0f} % of bits"
        for change, shares in kept.items()
    }
    decibels, similar = np.array(quality).T
    print_table(name, decibels, similar, rows)
    assert len(fitting) == OTHERS


def test_no_mark_is_read_where_none_is(monkeypatch: pytest.MonkeyPatch, figure: Record) -> None:
    """Portraits, backdrops, photos and noise."""
    heights: list[float] = []
    find = carrier.find
    monkeypatch.setattr(
        carrier, "find", lambda waves, finer=1: (place := find(waves, finer), heights.append(place.height))[0]
    )
    random, count, wrong = np.random.default_rng(4), 0, 0
    for picture in (*unmarked(), *(random.integers(0, 256, (400, 320, 3), np.uint8) for _ in range(20))):
        wrong += read(np.ascontiguousarray(picture)) is not None
        count += 1
    tallest = max(heights)
    sys.stdout.write(
        f"{count} pictures, {len(heights)} alignments; the tallest place stands out {tallest:.1f} deviations\n"
    )
    assert count >= 100
    figure("Marks that are read where none is", wrong, f"of {count}", at_most=0)


def unmarked() -> Iterable[Image]:
    for number, (_, image) in enumerate(studio_portraits.portraits()):
        yield image if number % 2 else half(image)
    for name in backdrops.NAMES:
        for seed in (1, 2):
            yield backdrops.paint(name, Size(512, 640), seed)
    yield from selfies.people().values()
    for name in ("coffee", "chelsea", "rocket"):
        yield getattr(skimage.data, name)()


MILLISECONDS = {
    "marking": (80, 800),
    "reading": (80, 200),
    "reading a crop": (400, 400),
    "reading where there is none": (3000, 3000),
}
"""Most CPU time, up to 2048 pixels and for more: about three times what it takes."""


def test_marks_of_others_are_never_taken_for_ours(figure: Record) -> None:
    image = next(image for _, image in studio_portraits.portraits() if image.shape[1] == 512)
    others = [Payload(number * 1301, zlib.crc32(bytes([number]))) for number in range(50)]
    right = sum(read(jpeg(embed(image, theirs), 75)) == theirs for theirs in others)
    figure("Marks of others that are read as theirs", right, "of 50", at_least=50)


@pytest.mark.parametrize("size", [(640, 512), (1280, 1024), (4096, 4096)])
def test_seconds_of_marking_and_reading(size: tuple[int, int], figure: Record) -> None:
    image = np.asarray(cv2.resize(selfies.astronaut(), size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
    marked = embed(image, OURS)
    took: dict[str, float] = {}
    for name, work in {
        "marking": lambda: embed(image, OURS),
        "reading": lambda: read(marked),
        "reading a crop": lambda: read(cropped(marked, 0.1, 0.1, 0.1, 0.1)),
        "reading where there is none": lambda: read(image),
    }.items():
        spent = []
        for _ in range(3):
            begun = time.process_time()
            work()
            spent.append(time.process_time() - begun)
        took[name] = min(spent)
    sys.stdout.write(f"{size}: " + ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in took.items()) + "\n")
    large = size[0] > 2048
    for name, value in took.items():
        figure(f"The mark at {size[1]}×{size[0]}: {name}", 1000 * value, "ms", at_most=MILLISECONDS[name][large])
