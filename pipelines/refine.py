"""What is done to a portrait after it was drawn: refiners in order, each blended with what it was given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from portrait.arrays import LARGEST_SIDE, Image
from portrait.errors import UserError
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.ports import FaceFinder, Progress, Refiner, Restorer, Upscaler
from portrait.types import Face, PortraitRequest, Refinement

UPSCALE_FACTORS = {"upscale2": 2, "upscale4": 4}
"""Names that stand for the upscaler of the settings, and how many times they enlarge."""
STRIP_ROWS = 1024
"""Rows that are blended at a time, so that memory does not grow with the picture."""


@dataclass(frozen=True, slots=True)
class RestoreFaces:
    """A restorer of faces as a refiner: one face after the other."""

    restorer: Restorer

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        """The picture with every face restored."""
        for face in faces:
            image = self.restorer.restore(image, face)
        return image


@dataclass(frozen=True, slots=True)
class Upscale:
    """An upscaler as a refiner."""

    upscaler: Upscaler
    factor: int

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        """The picture, `factor` times as wide and high; raises `UserError` (`bad_size`) before it would be too large."""
        if max(image.shape[:2]) * self.factor > LARGEST_SIDE:
            raise UserError(
                "bad_size",
                f"Enlarged {self.factor} times, this portrait of {image.shape[1]}×{image.shape[0]} pixels would be longer than "
                f"{LARGEST_SIDE}. Ask for a smaller size, or enlarge it less.",
            )
        return self.upscaler.upscale(image, self.factor)


@dataclass(frozen=True, slots=True)
class Refine:
    """Refiners in order."""

    refiners: Mapping[str, Refiner]
    finder: FaceFinder

    def __call__(self, image: Image, steps: Sequence[Refinement], progress: Progress) -> Image:
        """The picture after every step; without steps the very same one. Faces are looked for once, as it was drawn."""
        if not steps:
            return image
        faces = self.finder.faces(image, embedded=0)
        for number, step in enumerate(steps):
            progress(number, len(steps), "Refining", image)
            before = image
            image = blend(before, self.refiners[step.name].refine(before, faces), step.strength)
            if image.shape != before.shape:
                larger = scaling_matrix(image.shape[1] / before.shape[1])
                faces = [transform_face(face, larger) for face in faces]
        return image


def steps_of(request: PortraitRequest) -> tuple[Refinement, ...]:
    """What a request comes to: the style's steps, then its own; of one name the request's counts; strength 0 is no step."""
    steps = {step.name: step for step in request.style.refiners}
    steps |= {step.name: step for step in request.refiners}
    # Enlarging comes last: all else then works on fewer pixels, and what was found is still where it was.
    ordered = sorted(steps.values(), key=lambda step: step.name in UPSCALE_FACTORS)
    return tuple(step for step in ordered if step.strength > 0)


def blend(before: Image, after: Image, strength: float) -> Image:
    """`strength` of what came out, the rest of what went in; that is enlarged by interpolation where it has to be."""
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
