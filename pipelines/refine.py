"""Refines a drawn portrait: refiners in order, each result blended with its input by the strength of the step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from portrait.arrays import LARGEST_SIDE, Image
from portrait.errors import UserError
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.ports import ChangedRefiner, ChangedRestorer, FaceFinder, Progress, Refiner, Restorer, Upscaler
from portrait.types import Face, PortraitRequest, Refinement

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


@dataclass(frozen=True, slots=True)
class Refine:
    """Applies refiners in order."""

    refiners: Mapping[str, Refiner]
    finder: FaceFinder

    def __call__(self, image: Image, steps: Sequence[Refinement], progress: Progress) -> Image:
        """Return the picture after every step; without steps the same object. Faces are detected once, at the start."""
        if not steps:
            return image
        faces = self.finder.faces(image, embedded=0)
        for number, step in enumerate(steps):
            progress(number, len(steps), "Refining", image)
            before = image
            refiner = self.refiners[step.name]
            if step.method == 1 and isinstance(refiner, ChangedRefiner):
                after = refiner.refine_as_before(before, faces)
            else:
                after = refiner.refine(before, faces)
            image = blend(before, after, step.strength)
            if image.shape != before.shape:
                larger = scaling_matrix(image.shape[1] / before.shape[1])
                faces = [transform_face(face, larger) for face in faces]
        return image


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
