"""Validation during training: images of the person from fixed prompts and seeds, and the distance of their faces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TypeAlias

from pipelines.diffusion.training.sample_images import SampleGenerator, fill_prompts
from pipelines.settings import ValidationSettings
from portrait.arrays import Image, Vector
from portrait.faces.likeness import distance
from portrait.ports import FaceFinder
from portrait.training import ValidationResult
from portrait.types import TrainingSet

SampleImages: TypeAlias = tuple[tuple[str, Image], ...]
"""Prompts with the images generated for them."""
FIRST_TEST_SEED = 1_000_000
"""Test seeds begin here, beyond those of all validations."""
MERGE_TOLERANCE = 0.04
"""Share of the distance of one person by which a checkpoint may be worse than the best, to be merged with it. With 0.05 a merge
came out 0.026 less alike than the best of its parts; see docs/learning.md."""
COLLAPSE_SHARE = 0.5
"""Share of the photos' own spread below which the drawn faces are one picture over and over."""


@dataclass(frozen=True, slots=True, eq=False)
class Validator:
    """Generates images of the person and measures their faces."""

    finder: FaceFinder
    settings: ValidationSettings
    subject: str
    """Trigger and class word, for `{who}` in the prompts."""
    reference: Vector
    """The person's mean embedding, in the finder's space."""
    photo_spread: float | None
    """Mean distance of the photos' faces to each other; None when fewer than two have one."""

    @property
    def min_improvement(self) -> float:
        """How far a distance must fall to count as an improvement."""
        return self.settings.gain * self.finder.same_person

    @property
    def merge_tolerance(self) -> float:
        """How much larger than the best a distance may be for its checkpoint to be merged."""
        return MERGE_TOLERANCE * self.finder.same_person

    def validate(
        self, generator: SampleGenerator, step: int, report: Callable[[int, int], None]
    ) -> tuple[ValidationResult, SampleImages]:
        """Measure after a step, on the seeds of every validation; `report` gets images done and in all."""
        return self._generate(generator, step, range(self.settings.seeds), report)

    def test(self, generator: SampleGenerator, step: int, report: Callable[[int, int], None]) -> ValidationResult:
        """Measure on the held-out seeds, for the selection of a checkpoint."""
        seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + self.settings.held_out)
        return self._generate(generator, step, seeds, report)[0]

    def captions(self) -> list[str]:
        """Every prompt that will be used, the negative one among them."""
        return [*fill_prompts(self.settings.prompts, who=self.subject), self.settings.negative]

    def _generate(
        self, generator: SampleGenerator, step: int, seeds: range, report: Callable[[int, int], None]
    ) -> tuple[ValidationResult, SampleImages]:
        texts = fill_prompts(self.settings.prompts, who=self.subject)
        jobs = [(number, text, seed) for number, text in enumerate(texts) for seed in seeds]
        images = []
        for done, (number, text, seed) in enumerate(jobs):
            report(done, len(jobs))
            # Each prompt has its own noise: the same for all would make the faces alike.
            on_step = partial(report, done, len(jobs))
            image = generator.generate(text, self.settings.negative, 1000 * seed + number, self.settings, on_step)
            images.append((text, image))
        return self._measure(step, images), tuple(images)

    def _measure(self, step: int, images: Sequence[tuple[str, Image]]) -> ValidationResult:
        space = self.finder.space
        embeddings = embed_faces(self.finder, [image for _, image in images])
        distances = [2 * self.finder.same_person] * (len(images) - len(embeddings))
        distances += [distance(space, vector, self.reference) for vector in embeddings]
        among = mean_pairwise_distance(space, embeddings)
        collapsed = among is not None and self.photo_spread is not None and among < COLLAPSE_SHARE * self.photo_spread
        return ValidationResult(step, sum(distances) / len(distances), len(embeddings) / len(images), among, collapsed)


def make_validator(
    load_finder: Callable[[], FaceFinder], settings: ValidationSettings, training: TrainingSet, subject: str
) -> Validator | None:
    """The validator of a run; None when validation is off, or the set was prepared with another face finder."""
    if not settings.every:
        return None
    finder = load_finder()
    reference = training.mean_embeddings.get(finder.space)
    if reference is None:
        return None
    faces = embed_faces(finder, [crop.image for crop in training.crops])
    return Validator(finder, settings, subject, reference, mean_pairwise_distance(finder.space, faces))


def embed_faces(finder: FaceFinder, images: Sequence[Image]) -> list[Vector]:
    """The embedding of the largest face of each image that has one."""
    found = [finder.faces(image) for image in images]
    return [faces[0].embeddings[finder.space] for faces in found if faces and finder.space in faces[0].embeddings]


def mean_pairwise_distance(space: str, vectors: Sequence[Vector]) -> float | None:
    """Mean distance between all pairs; None without one."""
    pairs = [distance(space, one, other) for one, other in combinations(vectors, 2)]
    return sum(pairs) / len(pairs) if pairs else None


def rank_results(results: Sequence[ValidationResult]) -> list[ValidationResult]:
    """Results from the smallest distance up; collapsed ones come last."""
    return sorted(results, key=lambda result: (result.collapsed, result.distance, result.step))


def neighbours_to_merge(results: Sequence[ValidationResult], count: int, tolerance: float) -> list[ValidationResult]:
    """The best result with its neighbours in time that are at most `tolerance` farther; `count` at most in all.

    The mean of checkpoints that are trained unequally far is trained less than the best of them.
    """
    top = rank_results(results)[0]
    first = last = results.index(top)
    while last - first + 1 < count:
        neighbours = [results[at] for at in (first - 1, last + 1) if 0 <= at < len(results)]
        close = [
            each for each in neighbours if each.distance - top.distance <= tolerance and each.collapsed == top.collapsed
        ]
        if not close:
            break
        at = results.index(rank_results(close)[0])
        first, last = min(first, at), max(last, at)
    return list(results[first : last + 1])


def has_plateaued(results: Sequence[ValidationResult], patience: int, gain: float) -> bool:
    """Whether the last `patience` results improved on those before by less than `gain`; False where no face was found."""
    if not patience or len(results) <= patience or not any(result.found for result in results):
        return False
    before, since = rank_results(results[:-patience])[0], rank_results(results[-patience:])[0]
    return before.distance - since.distance < gain and before.collapsed <= since.collapsed
