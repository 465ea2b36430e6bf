"""Sample people, on whom a style is tried out: identities made from photos inside installed packages."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from pipelines import image_io
from pipelines.prepare import Overrides, Prepare
from portrait.errors import OperatorError, UserError
from portrait.ports import Progress
from portrait.types import Identity
from templates.package_pictures import find_picture


@dataclass(frozen=True, slots=True)
class SamplePerson:
    """A person on a photo inside an installed package; see `templates.package_pictures`."""

    name: str
    package: str
    path: str
    box: tuple[int, int, int, int] | None = None
    """Left, top, right, bottom of the person in pixels, where the photo shows several."""


SAMPLE_PEOPLE = (
    SamplePerson("astronaut", "skimage", "data/astronaut.png"),
    SamplePerson("third player", "insightface", "data/images/t1.jpg", (385, 180, 735, 640)),
    SamplePerson("fourth player", "insightface", "data/images/t1.jpg", (660, 240, 960, 700)),
)
"""An astronaut (NASA, public domain), and the two people of InsightFace's own test photo who face the camera."""


def make_identity(person: SamplePerson, prepare: Prepare, work_dir: Path, progress: Progress) -> Identity:
    """Make the identity of a sample person; raises `UserError` (`not_found`) where the photo is missing."""
    try:
        photo = find_picture(person.package, person.path)
    except OperatorError as error:
        raise UserError("not_found", f"The photo of the {person.name} is missing. {error.message}") from error
    if person.box is not None:
        left, top, right, bottom = person.box
        image = np.ascontiguousarray(image_io.read(photo).image[top:bottom, left:right])
        photo = work_dir / f"{person.name}.png"
        PIL.Image.fromarray(image).save(photo)
    training_set = prepare([photo], Overrides([0]), progress)
    return Identity(
        person.name, training_set.references, training_set.mean_embeddings, class_word=training_set.class_word
    )
