"""Pictures of anybody, drawn once per base and class word and kept: what prior preservation holds on to."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2

from pipelines import image_io
from pipelines.diffusion.training.sample_images import Pen, Stroke, prompts
from pipelines.settings import Prior
from portrait.arrays import Image
from portrait.errors import OperatorError

NEGATIVE = ""


def captions(knobs: Prior, class_word: str) -> list[str]:
    """What the pictures show, in turn."""
    return prompts(knobs.prompts, class_word=class_word)


def folder(cache: Path, base: str, knobs: Prior, class_word: str, side: int) -> Path:
    """Where the pictures of this base (its hash) and class word lie; whatever changes them changes the name."""
    told = [base, captions(knobs, class_word), side, knobs.steps, knobs.guidance]
    return cache / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]


def missing(place: Path, knobs: Prior) -> list[int]:
    """Numbers of the pictures that are still to be drawn."""
    return [number for number in range(knobs.images) if not _file(place, number).is_file()]


def draw(place: Path, pen: Pen, knobs: Prior, class_word: str, tell: Callable[[int, int], None]) -> None:
    """Draw what is missing; each picture is there whole or not at all. Raises `OperatorError` (`cannot_write`)."""
    texts = captions(knobs, class_word)
    for number in missing(place, knobs):
        image = pen.draw(
            texts[number % len(texts)],
            NEGATIVE,
            number,
            Stroke(knobs.steps, knobs.guidance),
            lambda: tell(number, knobs.images),  # noqa: B023 -- called before the next turn
        )
        _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        try:
            place.mkdir(parents=True, exist_ok=True)
            staged = _file(place, number).with_suffix(".part")
            staged.write_bytes(data.tobytes())
            staged.replace(_file(place, number))
        except OSError as error:
            raise OperatorError("cannot_write", f"Class pictures cannot be kept: {error.strerror}.") from error


def read(place: Path, knobs: Prior, class_word: str) -> list[tuple[Image, str]]:
    """The pictures with their captions."""
    texts = captions(knobs, class_word)
    images = [image_io.read(_file(place, number)).image for number in range(knobs.images)]
    return [(image, texts[number % len(texts)]) for number, image in enumerate(images)]


def _file(place: Path, number: int) -> Path:
    return place / f"{number:04}.png"
