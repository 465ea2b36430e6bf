"""People to try a style out with: photos that come with the libraries of the project."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from pipelines import image_io
from pipelines.prepare import Overrides, Prepare
from portrait.errors import UserError
from portrait.ports import Progress
from portrait.types import Identity


@dataclass(frozen=True, slots=True)
class SamplePerson:
    """A person on a photo inside a package, which is found without importing it."""

    name: str
    package: str
    path: str
    cut: tuple[int, int, int, int] | None = None
    """Left, top, right, bottom of the person where the photo shows several."""


SAMPLE_PEOPLE = (
    SamplePerson("astronaut", "skimage", "data/astronaut.png"),
    SamplePerson("third player", "insightface", "data/images/t1.jpg", (385, 180, 735, 640)),
    SamplePerson("fourth player", "insightface", "data/images/t1.jpg", (660, 240, 960, 700)),
)
"""An astronaut (NASA, public domain), and the two people of InsightFace's own test photo who face the camera."""


def place(sitter: SamplePerson) -> Path | None:
    """Where the photo lies; None where its package is not installed or has it no more."""
    spec = importlib.util.find_spec(sitter.package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / sitter.path
    return path if path.is_file() else None


def make_identity(sitter: SamplePerson, prepare: Prepare, desk: Path, progress: Progress) -> Identity:
    """The person as one who can be drawn; raises `UserError` (`not_found`) where the photo is absent."""
    photo = place(sitter)
    if photo is None:
        raise UserError("not_found", f"The photo of the {sitter.name} is absent: {sitter.package} is not installed.")
    if sitter.cut is not None:
        left, top, right, bottom = sitter.cut
        image = np.ascontiguousarray(image_io.read(photo).image[top:bottom, left:right])
        photo = desk / f"{sitter.name}.png"
        PIL.Image.fromarray(image).save(photo)
    training = prepare([photo], Overrides([0]), progress)
    return Identity(sitter.name, training.references, training.mean_embeddings, class_word=training.class_word)
