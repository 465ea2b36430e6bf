"""Class images for prior preservation: pictures of anybody, generated once per base and class word and cached."""

import hashlib
import json
from functools import partial
from pathlib import Path

import cv2

from pipelines import image_io
from pipelines.diffusion.training.sample_images import SampleGenerator, fill_prompts, shows_nothing
from pipelines.folders import atomic
from pipelines.settings import PriorSettings
from portrait.arrays import Image
from portrait.errors import EngineError
from portrait.ports import Progress

NEGATIVE = ""


def captions(settings: PriorSettings, class_word: str) -> list[str]:
    """The prompts of the class images, in turn."""
    return fill_prompts(settings.prompts, class_word=class_word)


def cache_folder(cache: Path, base: str, settings: PriorSettings, class_word: str, side: int) -> Path:
    """The folder for a base (its hash) and class word; all that changes the images changes its name."""
    key = [base, captions(settings, class_word), side, settings.steps, settings.guidance]
    return cache / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]


def missing_numbers(folder: Path, settings: PriorSettings) -> list[int]:
    """Numbers of the images that are still to be generated."""
    return [number for number in range(settings.images) if not _file(folder, number).is_file()]


def generate(
    folder: Path, generator: SampleGenerator, settings: PriorSettings, class_word: str, progress: Progress
) -> None:
    """Generate what is missing, each file written atomically; `progress` is called at each sampling step.

    Raises `EngineError` (`empty_drawing`), `OperatorError` (`cannot_write`), and what `progress` raises.
    """
    texts = captions(settings, class_word)
    for number in missing_numbers(folder, settings):
        doing = f"Preserving others, class picture {number + 1} of {settings.images}"
        on_step = partial(progress, number, settings.images, doing)
        image = generator.generate(texts[number % len(texts)], NEGATIVE, number, settings, on_step)
        if shows_nothing(image):
            raise EngineError(
                "empty_drawing",
                'The base draws nothing of "a person", so that others cannot be preserved. Set train.precision to "float32", '
                "or choose another base.",
            )
        _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        atomic.write_file(_file(folder, number), data.tobytes())


def load(folder: Path, settings: PriorSettings, class_word: str) -> list[tuple[Image, str]]:
    """The class images with their captions."""
    texts = captions(settings, class_word)
    images = [image_io.read(_file(folder, number)).image for number in range(settings.images)]
    return [(image, texts[number % len(texts)]) for number, image in enumerate(images)]


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:04}.png"
