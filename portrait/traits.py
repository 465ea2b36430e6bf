"""Traits of a person that photos show: age group, glasses, beard, expression. They are proposed; the person chooses.

What is chosen stands in the captions of training photos, so that it is not learned as a part of the face, and in prompts. Sex
and origin are never offered: networks guess them, and a wrong guess hurts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from portrait.arrays import Image
from portrait.errors import UserError
from portrait.faces.glasses import wears_sunglasses
from portrait.faces.mesh import CHIN, EYE_LEFT, EYE_RIGHT, FOREHEAD, INNER_LIPS, MOUTH_LEFT, MOUTH_RIGHT
from portrait.fusion.beards import has_beard
from portrait.fusion.body_skin import MEASURED_WIDTH, crop_face
from portrait.fusion.occluders import rim_mask
from portrait.fusion.references import full_mesh, measure_expression
from portrait.ports import AttributeEstimator, Attributes
from portrait.types import Face, TrainingSet

CHOICES: Mapping[str, tuple[str, ...]] = {
    "age": ("young", "middle-aged", "elderly"),
    "glasses": ("with glasses", "without glasses"),
    "beard": ("with a beard", "without a beard"),
    "expression": ("smiling", "serious"),
}
"""What may be said of a trait, in the words of captions and prompts."""
CHANGING = ("glasses", "beard", "expression")
"""Traits that one photo of a person shows and another does not."""
MOST_YAW = 20.0
"""Degrees of yaw up to which a face is read: beyond them the far edge of a face was taken for a frame."""
LEAST_WIDTH = 90.0
"""Width of a face in pixels from which it is read: the tests' photos of seven people have 93 to 120."""
MIDDLE_AGE, OLD_AGE = 35.0, 60.0
"""Years from which the mean of the network's estimate is called so; it is off by about five (docs/judging.md)."""
SMILE, CALM = 0.08, 0.05
"""How far the corners of the mouth lie above the middle of the lips, in widths between the eyes, in a smile and without one:
0.10 to 0.11 on smiling faces of the tests' photos, -0.02 to 0.05 on others."""
SHUT = 0.09
"""How far lips may be apart in a serious face, in the same unit."""
ATTRIBUTES_FACE, ATTRIBUTES_YAW = 60, 35.0
"""Width of a face in pixels from which age and sex are estimated, and degrees of yaw up to which they are: see the port."""
MINOR = 0.35
"""Mean probability of being below 18 from which a guardian is asked for: faces of adults were measured up to .10, those of
children mostly above .5 (docs/guards.md)."""
MOST_SHARE = 0.5
"""Share of the photos that were read in which a trait is seen, from which it is offered."""


def measure_traits(image: Image, face: Face, attributes: Attributes | None = None) -> dict[str, str]:
    """What a photo shows, by trait; nothing is said of what is not seen, is not sure, or of a minor's age.

    `attributes`: what a network takes the face for. A face that is turned away, too small or without a mesh shows nothing.
    """
    mesh = full_mesh(face)
    if mesh is None or abs(face.pose.yaw) > MOST_YAW or face.box.width < LEAST_WIDTH:
        return {}
    found = {}
    if attributes is not None and attributes.minor < 0.5:
        found["age"] = CHOICES["age"][int(attributes.age >= MIDDLE_AGE) + int(attributes.age >= OLD_AGE)]
    if not wears_sunglasses(image, face) and rim_mask(*crop_face(image, face, MEASURED_WIDTH, 0.3)).any():
        found["glasses"] = "with glasses"
    if has_beard(image, face):
        found["beard"] = "with a beard"
    lift, (apart, _) = _mouth_lift(face), measure_expression(face)
    if lift >= SMILE:
        found["expression"] = "smiling"
    elif lift <= CALM and apart <= SHUT:
        found["expression"] = "serious"
    return found


def estimate_attributes(estimator: AttributeEstimator | None, image: Image, face: Face) -> Attributes | None:
    """What a network takes a face of `image` for; None where that would be a guess, or without a network."""
    if (
        estimator is None
        or face.mesh is None
        or face.box.width < ATTRIBUTES_FACE
        or abs(face.pose.yaw) > ATTRIBUTES_YAW
    ):
        return None
    return estimator.estimate(image, face)


def asks_guardian(read: Sequence[Attributes]) -> bool | None:
    """Whether somebody may be a child, by what a network takes their photos for; None without any that could be read."""
    return sum(each.minor for each in read) / len(read) >= MINOR if read else None


def _mouth_lift(face: Face) -> float:
    """How far the corners of the mouth lie above the middle of the lips, in widths between the outer corners of the eyes."""
    mesh = np.asarray(face.mesh, np.float64)
    up = mesh[FOREHEAD, :2] - mesh[CHIN, :2]
    corners = mesh[[MOUTH_LEFT, MOUTH_RIGHT], :2].mean(axis=0)
    lips = mesh[list(INNER_LIPS), :2].mean(axis=0)
    unit = max(float(np.linalg.norm(mesh[EYE_LEFT] - mesh[EYE_RIGHT])), 1e-6)
    return float((corners - lips) @ up / max(float(np.linalg.norm(up)), 1e-6)) / unit


def offer_traits(photos: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What is offered of a person by what their photos show: what at least half of those that show anything agree on."""
    read = [photo for photo in photos if photo]
    offered = {}
    for name in CHOICES:
        seen = Counter(photo[name] for photo in read if name in photo).most_common(1)
        if seen and seen[0][1] >= MOST_SHARE * len(read):
            offered[name] = seen[0][0]
    return offered


def with_traits(training: TrainingSet, chosen: Mapping[str, str]) -> TrainingSet:
    """A set whose captions say the `chosen` traits, and none that were said before; a caption that somebody wrote stays.

    What changes from photo to photo is said where it is seen; where no photo was seen to show it, the person is believed and
    all say it.
    """
    shown = {photo.name: photo.traits for photo in training.photos}
    photos = [shown.get(crop.source, {}) for crop in training.crops]
    start = f"a photo of {training.trigger} {training.class_word}"
    crops = [
        replace(crop, caption=_caption_with(crop.caption, start, _words(chosen, photo, photos)))
        for crop, photo in zip(training.crops, photos, strict=True)
    ]
    return replace(training, crops=tuple(crops), traits={name: value for name, value in chosen.items() if value})


def _words(chosen: Mapping[str, str], photo: Mapping[str, str], photos: Sequence[Mapping[str, str]]) -> list[str]:
    """What is said of the person in this photo."""
    words = []
    for name in CHOICES:
        value = chosen.get(name, "")
        anywhere = any(each.get(name) == value for each in photos)
        if value and (name not in CHANGING or not anywhere or photo.get(name) == value):
            words.append(value)
    return words


def _caption_with(caption: str, start: str, words: Sequence[str]) -> str:
    """A caption that begins with `start`, then says `words` in place of any traits."""
    if not caption.startswith(start):
        return caption
    known = {value for values in CHOICES.values() for value in values}
    rest = [each for each in caption[len(start) :].split(", ") if each and each not in known]
    return ", ".join([start, *words, *rest])


def parse_traits(words: Sequence[str]) -> dict[str, str]:
    """Traits by name from what was said of them (`with glasses`); raises `UserError` (`bad_trait`)."""
    known = {value: name for name, values in CHOICES.items() for value in values}
    chosen: dict[str, str] = {}
    for word in filter(None, (each.strip().lower() for each in words)):
        if word not in known or known[word] in chosen:
            choices = "; ".join(f"{', '.join(values)}" for values in CHOICES.values())
            raise UserError("bad_trait", f"{word!r} cannot be said here. Choose one of each: {choices}.")
        chosen[known[word]] = word
    return chosen
