"""Guards in the worker: what became forbidden after a job was placed is not drawn, and photos say whether to ask a guardian."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from pipelines.engines import Engines
from pipelines.settings import GuardSettings, MarkSettings, Settings
from portrait.arrays import Image
from portrait.ports import AttributeEstimator, Attributes
from portrait.types import Face
from tasks.files import Files
from tasks.jobs import Job
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.blocked_people import BlockedPersonRow
from tasks.ledger.privacy.consents import Statement
from tasks.queue.flows import PortraitFlows
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests import fakes
from tests.tasks.queue.test_flows import WORDS, FakeEngines, keep, run

DRAWN = ("generate", ["studio"])


class Estimator:
    """Takes every face for somebody who is a minor with that probability."""

    def __init__(self, minor: float) -> None:
        self.minor = minor

    def estimate(self, image: Image, face: Face) -> Attributes:
        return Attributes(20.0, self.minor, 0.5)


class GuardedEngines(FakeEngines):
    """Fake engines whose faces have a mesh, and whose people may be children."""

    def __init__(self, minor: float) -> None:
        self.minor = minor

    def attributes(self) -> AttributeEstimator:  # pyrefly: ignore[bad-override] -- the others have none
        return Estimator(self.minor)


@pytest.fixture
def make_runner(sqlite: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobRunner]:
    # The fake faces have no mesh, without which no age is read: what is read of them is said here.
    read = "pipelines.prepare.Prepare._estimate"
    monkeypatch.setattr(read, lambda flow, photo: flow.attributes.estimate(None, None) if flow.attributes else None)
    monkeypatch.setattr("pipelines.prepare.measure_traits", lambda *given: {})

    def make(minor: float = 0.1, **guards: Any) -> JobRunner:
        settings = Settings(guards=GuardSettings(pictures="", **guards), marks=MarkSettings(tmp_path / "marks"))
        flows = PortraitFlows(settings, cast("Engines", GuardedEngines(minor)))
        return JobRunner("w", sqlite, Files(tmp_path / "data"), flows, LeaseSettings(), WORDS)

    return make


def prepared(runner: JobRunner, tmp_path: Path, person_in_photo: int = 1) -> tuple[str, Job]:
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", time.time()).id
    for seed in (1, 2):
        file = fakes.save(tmp_path / f"{seed}.png", fakes.picture(person_in_photo, seed))
        keep(runner, person, file, f"{seed}.png", time.time())
    return person, run(runner, "prepare", person)


def draw(runner: JobRunner, person: str, **params: Any) -> Job:
    identity = runner.ledger.people.identities("ann", person)[0].id
    people = {"people": {"1": person}, "identities": {"1": identity}, "style": "studio-grey"}
    return run(runner, *DRAWN[:1], person, DRAWN[1], **people, **params)


def code(job: Job) -> tuple[str, str]:
    return job.state, job.fault.code if job.fault else ""


def blocked(runner: JobRunner, person: int) -> None:
    vector = [0.0] * 8
    vector[person] = 1.0
    runner.ledger.blocked_people.add(BlockedPersonRow("blocked_1", "a letter", "op", 1.0, {"dlib": vector}))


@pytest.mark.parametrize(("minor", "asked"), [(0.34, False), (0.36, True)])
def test_photos_of_who_may_be_a_child_ask_for_a_guardian(
    make_runner: Callable[..., JobRunner], tmp_path: Path, minor: float, asked: bool
) -> None:
    runner = make_runner(minor)
    person, job = prepared(runner, tmp_path)
    assert job.state == "succeeded", job.fault
    assert runner.ledger.people.get("ann", person).asks_guardian is asked
    assert code(draw(runner, person)) == (("failed", "guardian_needed") if asked else ("succeeded", ""))
    told = json.dumps([job.result, [row.quality for row in runner.ledger.people.selfies("ann", person)]])
    assert "minor" not in told
    assert "age" not in told.replace("image", "")


def test_a_guardians_consent_opens_it_and_its_end_shuts_it(
    make_runner: Callable[..., JobRunner], tmp_path: Path
) -> None:
    runner = make_runner(0.8)
    people, (person, _) = runner.ledger.people, prepared(runner, tmp_path)
    people.give_consent("ann", person, Statement("1", "Bea", given_for="guardian", adult=True), 5.0)
    assert code(draw(runner, person)) == ("succeeded", "")
    people.withdraw("ann", person, 6.0)
    people.give_consent("ann", person, Statement("1", "Ann", given_for="self", adult=True), 7.0)
    assert code(draw(runner, person)) == ("failed", "guardian_needed")
    runner.ledger.ages.settle(person, 8.0)
    assert code(draw(runner, person)) == ("succeeded", "")


def test_with_the_guard_off_nobody_is_asked(make_runner: Callable[..., JobRunner], tmp_path: Path) -> None:
    runner = make_runner(0.9, age=False)
    person, _ = prepared(runner, tmp_path)
    assert code(draw(runner, person)) == ("succeeded", "")


def test_who_is_blocked_after_the_order_is_not_drawn(make_runner: Callable[..., JobRunner], tmp_path: Path) -> None:
    runner = make_runner()
    person, _ = prepared(runner, tmp_path)
    assert code(draw(runner, person)) == ("succeeded", "")
    blocked(runner, 2)
    assert code(draw(runner, person)) == ("succeeded", ""), "somebody else"
    runner.ledger.blocked_people.remove("blocked_1")
    blocked(runner, 1)
    assert code(draw(runner, person)) == ("failed", "person_blocked")
    runner.ledger.blocked_people.remove("blocked_1")
    assert code(draw(runner, person)) == ("succeeded", "")


def test_photos_of_who_is_blocked_become_no_training_set(make_runner: Callable[..., JobRunner], tmp_path: Path) -> None:
    runner = make_runner()
    blocked(runner, 1)
    person, job = prepared(runner, tmp_path)
    assert code(job) == ("failed", "person_blocked")
    assert runner.ledger.people.training_sets("ann", person) == []


def test_words_that_came_past_the_api_are_not_drawn(make_runner: Callable[..., JobRunner], tmp_path: Path) -> None:
    runner = make_runner()
    person, _ = prepared(runner, tmp_path)
    assert code(draw(runner, person, traits={"hair": "nude"})) == ("failed", "words_refused")
    assert code(draw(make_runner(words=False), person, traits={"hair": "nude"})) == ("succeeded", "")
