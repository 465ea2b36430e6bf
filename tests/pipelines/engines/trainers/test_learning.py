"""A LoRA is trained on a stranger with a small base that really draws; see tests/faceworld."""

from dataclasses import dataclass

import pytest

from pipelines.diffusion.training.checkpoints import CheckpointStore
from portrait.training import TrainingResult
from tests.benchmarks.plugin import Record
from tests.faceworld import meters, people, training
from tests.faceworld.people import Measurements, Stranger
from tests.faceworld.training import ANYBODY, SOMEBODY, Lab

# A model that really draws, and minutes of learning: `make test` has no time for it.
pytestmark = [pytest.mark.models, pytest.mark.bench]

STRANGER = 1


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(meters.load(), tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def who(studio: Lab) -> Stranger:
    return people.make_stranger(STRANGER, studio.gauges)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A training run, and measurements of images generated with it."""

    result: TrainingResult
    store: CheckpointStore
    somebody: Measurements
    anybody: Measurements


@pytest.fixture(scope="module")
def outcome(studio: Lab, who: Stranger) -> Outcome:
    result, store = studio.train(who, "with")
    return Outcome(result, store, *(studio.measured(who, name, result.lora) for name in (SOMEBODY, ANYBODY)))


def test_the_base_draws_the_scene_but_does_not_know_the_stranger(studio: Lab, who: Stranger, figure: Record) -> None:
    before = studio.measured(who, SOMEBODY, None)
    assert before.place > 1
    figure("A stranger before learning: likeness", before.similarity, "", at_most=0.3, compared=False)
    figure("A stranger before learning: background as the prompt says", before.background, "share", at_least=0.9)
    figure("A stranger before learning: shirt as the prompt says", before.shirt, "share", at_least=0.9)


def test_after_eight_pictures_the_person_is_drawn_in_new_scenes(outcome: Outcome, figure: Record) -> None:
    figure("A stranger learned: likeness", outcome.somebody.similarity, "", at_least=0.65)
    assert outcome.somebody.place == 1, "somebody else is nearer"


def test_the_scene_is_still_what_the_prompt_says(outcome: Outcome, figure: Record) -> None:
    figure("A stranger learned: background as the prompt says", outcome.somebody.background, "share", at_least=0.9)
    figure("A stranger learned: shirt as the prompt says", outcome.somebody.shirt, "share", at_least=0.9)


def test_prior_preservation_leaves_everybody_else_who_they_are(outcome: Outcome, figure: Record) -> None:
    beyond = outcome.somebody.similarity - outcome.anybody.similarity
    figure('A stranger learned: likeness beyond that of "a person"', beyond, "", at_least=0.3)


def test_without_prior_preservation_everybody_becomes_the_person(
    studio: Lab, who: Stranger, outcome: Outcome, figure: Record
) -> None:
    result, _ = studio.train(who, "without", training.without_prior())
    leaked = studio.measured(who, ANYBODY, result.lora)
    assert leaked.place == 1
    figure('A stranger learned without prior preservation: likeness of "a person"', leaked.similarity, "", at_least=0.5)
    beyond = leaked.similarity - outcome.anybody.similarity
    figure('Prior preservation, one stranger: likeness that it takes off "a person"', beyond, "", at_least=0.3)


def test_the_chosen_checkpoint_is_no_worse_than_the_last(outcome: Outcome) -> None:
    scores = outcome.result.test_results
    last = scores[f"step {training.STEPS}"]
    assert scores[outcome.result.chosen].distance <= last.distance
