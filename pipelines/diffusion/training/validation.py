"""Looking at what was learned: the person drawn with the same prompts and seeds, and the faces measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from pipelines.diffusion.training.sample_images import Pen, Stroke, prompts
from pipelines.settings import Exam
from portrait.arrays import Image, Vector
from portrait.faces.likeness import distance
from portrait.ports import FaceFinder
from portrait.training import Look
from portrait.types import TrainingSet

Sheet: TypeAlias = tuple[tuple[str, Image], ...]
"""Prompts with what was drawn for them."""
HELD_OUT = 1_000_000
"""Seeds from here on are for the last decision alone."""
ALIKE = 0.05
"""Share of the distance of one person by which a checkpoint may be worse than the best, to be merged with it."""
COLLAPSED = 0.5
"""Share of the photos' own spread below which the drawn faces are one picture over and over."""


@dataclass(frozen=True, slots=True, eq=False)
class Examiner:
    """Draws and measures."""

    finder: FaceFinder
    knobs: Exam
    who: str
    """Trigger and class word."""
    person: Vector
    spread: float | None
    """Mean distance of the photos' faces to each other; None when fewer than two have one."""

    @property
    def gain(self) -> float:
        """By how much a distance must fall to be called better."""
        return self.knobs.gain * self.finder.same_person

    @property
    def slack(self) -> float:
        """By how much a distance may be larger than the best, to be about as good."""
        return ALIKE * self.finder.same_person

    def look(self, pen: Pen, step: int, tell: Callable[[int, int], None]) -> tuple[Look, Sheet]:
        """After a step, on the seeds of every look."""
        return self._see(pen, step, range(self.knobs.seeds), tell)

    def last_look(self, pen: Pen, step: int, tell: Callable[[int, int], None]) -> Look:
        """For the last decision, on seeds held out for it."""
        return self._see(pen, step, range(HELD_OUT, HELD_OUT + self.knobs.held_out), tell)[0]

    def captions(self) -> list[str]:
        """Every text that will be drawn, the negative one among them."""
        return [*prompts(self.knobs.prompts, who=self.who), self.knobs.negative]

    def _see(self, pen: Pen, step: int, seeds: range, tell: Callable[[int, int], None]) -> tuple[Look, Sheet]:
        texts = prompts(self.knobs.prompts, who=self.who)
        stroke = Stroke(self.knobs.steps, self.knobs.guidance)
        wanted = [(place, text, seed) for place, text in enumerate(texts) for seed in seeds]
        sheet = []
        for done, (place, text, seed) in enumerate(wanted):
            tell(done, len(wanted))
            # Each prompt its own noise: the same for all would make the faces alike.
            image = pen.draw(text, self.knobs.negative, 1000 * seed + place, stroke, lambda: tell(done, len(wanted)))  # noqa: B023 -- called before the next turn
            sheet.append((text, image))
        return self._measure(step, sheet), tuple(sheet)

    def _measure(self, step: int, sheet: Sequence[tuple[str, Image]]) -> Look:
        space = self.finder.space
        seen = embedded(self.finder, [image for _, image in sheet])
        away = [2 * self.finder.same_person] * (len(sheet) - len(seen))
        away += [distance(space, vector, self.person) for vector in seen]
        among = spread(space, seen)
        collapsed = among is not None and self.spread is not None and among < COLLAPSED * self.spread
        return Look(step, sum(away) / len(away), len(seen) / len(sheet), among, collapsed)


def examiner(find: Callable[[], FaceFinder], knobs: Exam, training: TrainingSet, who: str) -> Examiner | None:
    """None when looking is switched off, or the set was prepared with another face finder."""
    if not knobs.every:
        return None
    finder = find()
    person = training.likeness.get(finder.space)
    if person is None:
        return None
    faces = embedded(finder, [crop.image for crop in training.crops])
    return Examiner(finder, knobs, who, person, spread(finder.space, faces))


def embedded(finder: FaceFinder, images: Sequence[Image]) -> list[Vector]:
    """The vector of the largest face of each picture that has one."""
    found = [finder.faces(image) for image in images]
    return [faces[0].embeddings[finder.space] for faces in found if faces and finder.space in faces[0].embeddings]


def spread(space: str, vectors: Sequence[Vector]) -> float | None:
    """Mean distance between all pairs; None without one."""
    pairs = [distance(space, one, other) for one, other in combinations(vectors, 2)]
    return sum(pairs) / len(pairs) if pairs else None


def best(looks: Sequence[Look]) -> list[Look]:
    """The most alike first; those that drew one picture over and over come last."""
    return sorted(looks, key=lambda look: (look.collapsed, look.distance, look.step))


def neighbours(looks: Sequence[Look], count: int, slack: float) -> list[Look]:
    """The best look with those beside it in time that are farther by at most `slack`; `count` in all.

    Checkpoints that have learned unequally much have a mean that has learned less than the best of them.
    """
    top = best(looks)[0]
    first = last = looks.index(top)
    while last - first + 1 < count:
        beside = [looks[at] for at in (first - 1, last + 1) if 0 <= at < len(looks)]
        alike = [each for each in beside if each.distance - top.distance <= slack and each.collapsed == top.collapsed]
        if not alike:
            break
        at = looks.index(best(alike)[0])
        first, last = min(first, at), max(last, at)
    return list(looks[first : last + 1])


def plateau(looks: Sequence[Look], patience: int, gain: float) -> bool:
    """Whether the last `patience` looks brought nothing that those before had not; faces must have been found."""
    if not patience or len(looks) <= patience or not any(look.found for look in looks):
        return False
    before, since = best(looks[:-patience])[0], best(looks[-patience:])[0]
    return before.distance - since.distance < gain and before.collapsed <= since.collapsed
