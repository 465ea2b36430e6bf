"""Sample photos for the demo: one public-domain portrait (NASA, from scikit-image) framed and lit like selfies.

Nobody's photos are shipped. The set has good photos and one of each common fault, so that the report has something to say.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from portrait.arrays import Image
from templates.package_pictures import find_picture

CLOSE_UP = "07 close up.jpg"

# Left, top, side of a square in the 512 px original; degrees of tilt; gain of red and blue in linear light.
SELFIES = {
    "01 the original.jpg": (0, 0, 512, 0.0, (1.0, 1.0)),
    "02 closer.jpg": (80, 0, 290, 0.0, (1.0, 1.0)),
    "03 evening light.jpg": (30, 0, 400, 4.0, (1.12, 0.85)),
    "04 tilted.jpg": (60, 0, 330, -9.0, (1.0, 1.0)),
    "05 by the window.jpg": (10, 0, 430, -4.0, (0.94, 1.1)),
    "06 tilted the other way.jpg": (70, 0, 310, 10.0, (1.04, 0.96)),
    CLOSE_UP: (115, 0, 220, 3.0, (1.0, 1.0)),
}

EXAMPLE_SIDE = 280
"""Pixels of an example, which the app shows in half of that on most screens."""
EXAMPLES = {
    "frontal": (90, 0, 270, 0.0, (1.0, 1.0)),
    "shoulders": (0, 0, 512, 0.0, (1.0, 1.0)),
    "light": (60, 0, 340, -6.0, (1.25, 0.78)),
    "cut": (120, 95, 230, 0.0, (1.0, 1.0)),
}
"""As `SELFIES`, for what the app tells of good and bad photos."""


def write_selfies(folder: Path) -> list[Path]:
    """Write the sample photos; the same bytes each time."""
    folder.mkdir(parents=True, exist_ok=True)
    original = _read_package_picture("skimage", "data/astronaut.png")
    photos = {name: _crop_and_tint(original, *rest) for name, rest in SELFIES.items()}
    closer = photos["02 closer.jpg"]
    photos |= {
        "08 dim room.jpg": _add_noise(_change_exposure(_crop_and_tint(original, 50, 0, 360, -7.0, (1.1, 0.8)), -2.4)),
        "09 out of focus.jpg": np.asarray(cv2.GaussianBlur(closer, (0, 0), closer.shape[1] / 110), np.uint8),
        "10 far too dark.jpg": _change_exposure(_crop_and_tint(original, 40, 0, 380, 7.0, (1.0, 1.0)), -5.0),
        "11 sent twice.jpg": np.asarray(
            cv2.resize(photos["04 tilted.jpg"], (600, 600), interpolation=cv2.INTER_AREA), np.uint8
        ),
        "12 coffee.jpg": _read_package_picture("skimage", "data/coffee.png"),
    }
    return [_write(folder / name, image) for name, image in photos.items()]


def write_examples(folder: Path) -> list[Path]:
    """Write the pictures that tell people which photos are good and which are not, as the app shows them."""
    folder.mkdir(parents=True, exist_ok=True)
    original = _read_package_picture("skimage", "data/astronaut.png")
    framed = {name: _crop_and_tint(original, *rest) for name, rest in EXAMPLES.items()}
    near = framed["frontal"]
    pictures = framed | {
        "dark": _change_exposure(near, -4.5),
        "blurred": np.asarray(cv2.GaussianBlur(near, (0, 0), near.shape[1] / 65), np.uint8),
        "sunglasses": _put_on_sunglasses(near),
    }
    size = (EXAMPLE_SIDE, EXAMPLE_SIDE)
    small = {name: cv2.resize(each, size, interpolation=cv2.INTER_AREA) for name, each in pictures.items()}
    return [_write(folder / f"{name}.jpg", np.asarray(each, np.uint8), 82) for name, each in small.items()]


def close_up(photos: Sequence[Path]) -> Path:
    """Of the photos that were written, the one that ends close to the head."""
    return next(photo for photo in photos if photo.name == CLOSE_UP)


def find_group() -> Path:
    """Return InsightFace's own test picture of six people; raises `OperatorError` (`missing_picture`)."""
    return find_picture("insightface", "data/images/t1.jpg")


def _put_on_sunglasses(image: Image) -> Image:
    """With dark glasses on the example that shows the face from near, at 900 px."""
    out = image.copy()
    for x in (390, 512):
        cv2.ellipse(out, (x, 362), (54, 42), 0, 0, 360, (18, 18, 20), -1, cv2.LINE_AA)
    cv2.line(out, (440, 350), (464, 350), (18, 18, 20), 12, cv2.LINE_AA)
    return out


def _write(path: Path, image: Image, quality: int = 95) -> Path:
    """Write a picture as JPEG, and return where."""
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    path.write_bytes(data.tobytes())
    return path


def _read_package_picture(package: str, path: str) -> Image:
    """Read a picture of an installed package, RGB; raises `OperatorError` (`missing_picture`)."""
    return np.asarray(cv2.imread(str(find_picture(package, path))), np.uint8)[:, :, ::-1]


def _crop_and_tint(image: Image, left: int, top: int, side: int, tilt: float, gains: tuple[float, float]) -> Image:
    """Cut a square, lean the camera about its middle and tint the light; at 900 px."""
    matrix = cv2.getRotationMatrix2D((left + side / 2, top + side / 2), tilt, 900 / side)
    matrix[:, 2] += 450 - np.array([left + side / 2, top + side / 2])
    turned = cv2.warpAffine(image, matrix, (900, 900), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    linear = (turned / 255.0) ** 2.2 * (gains[0], 1.0, gains[1])
    return np.asarray(np.clip(linear, 0, 1) ** (1 / 2.2) * 255, np.uint8)


def _add_noise(image: Image) -> Image:
    """With the noise of a small sensor in little light."""
    noise = np.random.default_rng(8).normal(0, 5, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def _change_exposure(image: Image, stops: float) -> Image:
    return np.asarray(((image / 255.0) ** 2.2 * 2.0**stops) ** (1 / 2.2) * 255, np.uint8)
