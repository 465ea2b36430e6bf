"""A LoRA learns a stranger on a small base that really draws; tests/faceworld says what that world is."""

from dataclasses import dataclass

import pytest

from pipelines.diffusion.training.checkpoints import Desk
from portrait.training import Learned
from tests.faceworld import lessons, meters, people
from tests.faceworld.lessons import ANYBODY, SOMEBODY, Studio
from tests.faceworld.people import Measured, Sitter

# A model that really draws, and minutes of learning: nothing for the inner loop.
pytestmark = pytest.mark.models

STRANGER = 1


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(meters.load(), tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def who(studio: Studio) -> Sitter:
    return people.sitter(STRANGER, studio.gauges)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A lesson and what is drawn after it."""

    learned: Learned
    desk: Desk
    somebody: Measured
    anybody: Measured


@pytest.fixture(scope="module")
def outcome(studio: Studio, who: Sitter) -> Outcome:
    learned, desk = studio.learn(who, "with")
    return Outcome(learned, desk, *(studio.measured(who, name, learned.lora) for name in (SOMEBODY, ANYBODY)))


def test_the_base_draws_the_scene_but_does_not_know_the_stranger(studio: Studio, who: Sitter) -> None:
    before = studio.measured(who, SOMEBODY, None)
    assert before.similarity < 0.3
    assert before.place > 1
    assert before.background >= 0.9
    assert before.shirt >= 0.9


def test_after_eight_pictures_the_person_is_drawn_in_scenes_never_seen(outcome: Outcome) -> None:
    assert outcome.somebody.similarity >= 0.65
    assert outcome.somebody.place == 1, "somebody else is nearer"


def test_the_scene_is_still_what_the_prompt_says(outcome: Outcome) -> None:
    assert outcome.somebody.background >= 0.9
    assert outcome.somebody.shirt >= 0.9


def test_prior_preservation_leaves_everybody_else_who_they_are(outcome: Outcome) -> None:
    assert outcome.somebody.similarity >= outcome.anybody.similarity + 0.3


def test_without_prior_preservation_everybody_becomes_the_person(studio: Studio, who: Sitter, outcome: Outcome) -> None:
    learned, _ = studio.learn(who, "without", lessons.without_prior())
    leaked = studio.measured(who, ANYBODY, learned.lora)
    assert leaked.place == 1
    assert leaked.similarity >= 0.5
    assert leaked.similarity > outcome.anybody.similarity + 0.3


def test_the_chosen_checkpoint_is_no_worse_than_the_last(outcome: Outcome) -> None:
    scores = outcome.learned.held_out
    last = scores[f"step {lessons.STEPS}"]
    assert scores[outcome.learned.chosen].distance <= last.distance
