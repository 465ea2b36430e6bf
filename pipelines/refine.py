"""Refines a drawn portrait: refiners in order, each result blended with its input by the strength of the step."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from portrait.arrays import LARGEST_SIDE, Image
from portrait.errors import OperatorError, UserError
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.faces.likeness import distance
from portrait.ports import (
    AnyRefiner,
    ChangedRefiner,
    ChangedRestorer,
    FaceFinder,
    PersonRefiner,
    Progress,
    Restorer,
    Upscaler,
)
from portrait.types import Face, Identity, PortraitRequest, Refinement

UPSCALE_FACTORS = {"upscale2": 2, "upscale4": 4}
"""Names that stand for the upscaler of the settings, and how many times they enlarge."""
STRIP_ROWS = 1024
"""Rows that are blended at a time, so that memory does not grow with the picture."""


@dataclass(frozen=True, slots=True)
class RestoreFaces:
    """A face restorer as a refiner: restores one face after the other."""

    restorer: Restorer

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        """Return the picture with every face restored."""
        for face in faces:
            image = self.restorer.restore(image, face)
        return image

    def refine_as_before(self, image: Image, faces: Sequence[Face]) -> Image:
        """Return the picture with every face restored as in version 0.1.0, where the restorer has changed since."""
        if not isinstance(self.restorer, ChangedRestorer):
            return self.refine(image, faces)
        for face in faces:
            image = self.restorer.restore_as_before(image, face)
        return image


@dataclass(frozen=True, slots=True)
class Upscale:
    """An upscaler as a refiner."""

    upscaler: Upscaler
    factor: int

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        """Return the picture `factor` times as wide and high; raises `UserError` (`bad_size`) before it would be too large."""
        if max(image.shape[:2]) * self.factor > LARGEST_SIDE:
            raise UserError(
                "bad_size",
                f"Enlarged {self.factor} times, this portrait of {image.shape[1]}×{image.shape[0]} pixels would be longer than "
                f"{LARGEST_SIDE}. Ask for a smaller size, or enlarge it less.",
            )
        return self.upscaler.upscale(image, self.factor)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A person in a drawn portrait, and their face in its pixels."""

    face: Face
    person: Identity


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """A refined picture, and what was measured on the way."""

    image: Image
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of steps that draw people's own faces, what recipes say: `people` by the number of the face, each with the distances
    `before` and `after` and whether it was `kept`, or `left`, the code of the error why it could not be drawn; and `models`."""

    @property
    def facts(self) -> dict[str, object]:
        """The steps as facts of a recipe; empty where there are none."""
        return {"refined": dict(self.steps)} if self.steps else {}

    @property
    def scores(self) -> dict[str, float]:
        """Mean distances to the people before and after each step, as `fuse_before` and `fuse_after`."""
        found: dict[str, float] = {}
        for name, step in self.steps.items():
            for when in ("before", "after"):
                known = [each[when] for each in step["people"].values() if each.get(when) is not None]
                found |= {f"{name}_{when}": sum(known) / len(known)} if known else {}
        return found


def _nobody(faces: Sequence[Face]) -> Mapping[int, Subject]:
    return {}


@dataclass(frozen=True, slots=True)
class Refine:
    """Applies refiners in order."""

    refiners: Mapping[str, AnyRefiner]
    finder: FaceFinder
    find_people: Callable[[Sequence[Face]], Mapping[int, Subject]] = _nobody
    """Who is who among the faces of the picture, by the number of the face."""
    recorded: Mapping[str, Any] | None = None
    """`Refined.steps` of a portrait that is drawn again: what was kept then is kept; None for a new one."""

    def __call__(self, image: Image, steps: Sequence[Refinement], progress: Progress) -> Image:
        """Return the picture after every step; without steps the same object."""
        return self.refine(image, steps, progress).image

    def refine(self, image: Image, steps: Sequence[Refinement], progress: Progress) -> Refined:
        """Return the picture after every step, with its measures; without steps the same object.

        Faces are detected once, at the start. Raises `OperatorError` (`model_differs`) where a recipe had other models.
        """
        if not steps:
            return Refined(image)
        faces, measured = self.finder.faces(image, embedded=0), {}
        for number, step in enumerate(steps):
            progress(number, len(steps), "Refining", image)
            before = image
            refiner = self.refiners[step.name]
            if isinstance(refiner, PersonRefiner):
                image, measured[step.name] = self._draw_people(refiner, step, image, self.find_people(faces))
                continue
            if step.method == 1 and isinstance(refiner, ChangedRefiner):
                after = refiner.refine_as_before(before, faces)
            else:
                after = refiner.refine(before, faces)
            image = blend(before, after, step.strength)
            if image.shape != before.shape:
                larger = scaling_matrix(image.shape[1] / before.shape[1])
                faces = [transform_face(face, larger) for face in faces]
        return Refined(image, measured)

    def _draw_people(
        self, refiner: PersonRefiner, step: Refinement, image: Image, subjects: Mapping[int, Subject]
    ) -> tuple[Image, dict[str, Any]]:
        """The picture with the faces that became more like their person, and the step as `Refined.steps` has it."""
        models, recorded = dict(refiner.facts()), None if self.recorded is None else self.recorded.get(step.name, {})
        if recorded is not None and recorded.get("models", {}) != models:
            raise OperatorError(
                "model_differs",
                f"The models of the step {step.name} are others than those this portrait was refined with: put those back.",
            )
        people: dict[str, dict[str, Any]] = {}
        for place, subject in sorted(subjects.items()):
            known = None if recorded is None else recorded["people"].get(str(place), {})
            image, people[str(place)] = self._draw_person(refiner, step.strength, image, (subject, known))
        return image, {"people": people, **({"models": models} if models else {})}

    def _draw_person(
        self, refiner: PersonRefiner, strength: float, image: Image, known: tuple[Subject, Mapping[str, Any] | None]
    ) -> tuple[Image, dict[str, Any]]:
        subject, recorded = known
        try:
            after = blend(image, refiner.refine_person(image, subject.face, subject.person), strength)
        except UserError as error:  # the portrait is whole without it
            return image, {"left": error.code}
        was, now = (self._distance(each, subject) for each in (image, after))
        kept = now is not None and (was is None or now < was) if recorded is None else bool(recorded.get("kept"))
        told = {name: value for name, value in (("before", was), ("after", now)) if value is not None}
        return after if kept else image, {**told, "kept": kept}

    def _distance(self, image: Image, subject: Subject) -> float | None:
        """Distance of the face in the subject's place to the person, as portraits are measured; None where none is found."""
        space, (x, y) = self.finder.space, subject.face.box.centre
        near = [
            face
            for face in self.finder.faces(image, embedded=0)
            if math.hypot(face.box.centre[0] - x, face.box.centre[1] - y) < subject.face.box.width / 2
        ]
        if not near or space not in subject.person.mean_embeddings:
            return None
        face = self.finder.embed(image, min(near, key=lambda each: abs(each.box.width - subject.face.box.width)))
        vector = face.embeddings.get(space)
        return None if vector is None else round(distance(space, vector, subject.person.mean_embeddings[space]), 4)


class HeldProgress:
    """The `Progress` of drawing, held where it is while what was drawn is measured and refined before the next is drawn."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._at: tuple[int, int, str] = (0, 1, "Drawing")

    def __call__(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        """Report how far the drawing is."""
        self._at = (done, total, doing)
        self._progress(done, total, doing, preview)

    def hold(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        """Report the drawing once more, whatever step of something else is done; raises `Cancelled` as ever."""
        self._progress(*self._at, preview)


def steps_of(request: PortraitRequest) -> tuple[Refinement, ...]:
    """Return the steps of a request: the style's, then its own; of one name the request's counts; strength 0 leaves it out."""
    steps = {step.name: step for step in request.style.refiners}
    steps |= {step.name: step for step in request.refiners}
    # Enlarging comes last: all else then works on fewer pixels, and what was found is still where it was.
    ordered = sorted(steps.values(), key=lambda step: step.name in UPSCALE_FACTORS)
    return tuple(step for step in ordered if step.strength > 0)


def blend(before: Image, after: Image, strength: float) -> Image:
    """Blend two pictures: `strength` of `after`, the rest of `before`, which is enlarged to the size of `after` if needed."""
    if strength >= 1:
        return after
    height, width = after.shape[:2]
    if before.shape != after.shape:
        before = np.asarray(cv2.resize(before, (width, height), interpolation=cv2.INTER_LANCZOS4), np.uint8)
    out = np.empty_like(after)
    for top in range(0, height, STRIP_ROWS):
        here = slice(top, top + STRIP_ROWS)
        mixed = before[here] + (after[here].astype(np.float32) - before[here]) * np.float32(strength)
        out[here] = np.clip(mixed + np.float32(0.5), 0, 255)
    return out
