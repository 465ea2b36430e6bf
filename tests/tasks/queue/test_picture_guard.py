"""The guard of pictures in a worker: photos, pictures of one's own, drafts of styles, drawings, previews of what is drawn."""

import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from pipelines.engines import Engines
from pipelines.guards.pictures import PictureGuard
from pipelines.settings import MarkSettings, ModelStoreSettings, Profile, Settings
from tasks.files import Files
from tasks.ledger.ledger import Ledger
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import TemplateRow
from tasks.queue.flows import FlowResult, JobContext, PortraitFlows
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tasks.styles.samples import StyleTester
from templates import schema
from templates.catalog import Entry
from tests import fakes, guard_network
from tests.guard_network import Dark, Says
from tests.tasks.api.harness import STUDIO
from tests.tasks.fake_flows import FakeFlows
from tests.tasks.queue.test_flows import WORDS, FakeEngines, keep, run
from tests.tasks.stand import new_job


class GuardedEngines(FakeEngines):
    """The fakes, with a guard of the test's."""

    def __init__(self, guard: PictureGuard) -> None:
        self.guard = guard

    def picture_guard(self) -> PictureGuard:
        return self.guard


@pytest.fixture
def runner(sqlite: Ledger, tmp_path: Path) -> JobRunner:
    """A worker whose guard lets everything pass until a test has it say something else."""
    settings = Settings(marks=MarkSettings(tmp_path / "marks"))
    flows = PortraitFlows(settings, cast("Engines", GuardedEngines(PictureGuard(Says(), closed=True))))
    return JobRunner("w", sqlite, Files(tmp_path / "data"), flows, LeaseSettings(), WORDS)


def guard_with(runner: JobRunner, guard: PictureGuard) -> None:
    flows = runner.flows
    assert isinstance(flows, PortraitFlows)
    cast("GuardedEngines", flows._engines).guard = guard


def fault_of(runner: JobRunner, kind: str, person: str, kinds: list[str] | None = None, **params: object) -> str:
    job = run(runner, kind, person, kinds, **params)
    return job.fault.code if job.fault else job.state


def test_one_photo_is_refused_and_the_others_are_kept(runner: JobRunner, tmp_path: Path) -> None:
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    bright = np.full((400, 400, 3), 250, np.uint8)
    for number, image in enumerate([fakes.picture(1, 1), bright, fakes.picture(1, 3)]):
        keep(runner, person, fakes.save(tmp_path / f"{number}.png", image), f"{number}.png", 2.0 + number)
    guard_with(runner, PictureGuard(Dark(), closed=False))
    assert fault_of(runner, "prepare", person) == "succeeded"
    judged = runner.ledger.people.selfies("ann", person)
    assert [each.verdict for each in judged] == ["use", "refuse", "use"]
    assert [reason["code"] for reason in judged[1].reasons] == ["blocked"]


def test_a_picture_that_may_not_be_used_has_no_faces(runner: JobRunner, tmp_path: Path) -> None:
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    place = runner.files.template("ann", "template_1")
    runner.files.save([fakes.save(tmp_path / "a.png", fakes.picture(1, 1)).read_bytes()], place, 10_000_000)
    row = TemplateRow("template_1", "ann", "a.png", 1, 400, 400, "PNG", "job_1", 1.0)
    runner.ledger.templates.add(row, 9, 10**12)
    guard_with(runner, PictureGuard(Says(allowed=False), closed=False))
    assert fault_of(runner, "look", person, template="template_1") == "blocked"
    assert runner.ledger.templates.get("ann", "template_1").faces is None
    guard_with(runner, PictureGuard(Says(), closed=False))
    assert fault_of(runner, "look", person, template="template_1") == "succeeded"


def test_what_is_drawn_is_delivered_by_its_leave_alone(runner: JobRunner, tmp_path: Path) -> None:
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    keep(runner, person, fakes.save(tmp_path / "a.png", fakes.picture(1, 1)), "a.png", 2.0)
    assert fault_of(runner, "prepare", person) == "succeeded"
    [identity] = runner.ledger.people.identities("ann", person)
    order = {"identities": {"1": identity.id}, "style": "studio-grey", "count": 2}
    guard_with(runner, PictureGuard(Says(allowed=False), closed=False))
    assert fault_of(runner, "generate", person, ["studio"], **order) == "blocked"
    guard_with(runner, PictureGuard(None, closed=True, lacks="It is not here."))
    assert fault_of(runner, "generate", person, ["studio"], **order) == "guard_missing"
    assert [path for path in runner.files.root.rglob("*.jpg") if "portraits" in str(path)] == []
    guard_with(runner, PictureGuard(None, closed=False))
    assert fault_of(runner, "generate", person, ["studio"], **order) == "succeeded"


def test_a_draft_whose_picture_may_not_be_used_has_a_finding(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    fakes.save(folder / "picture.png", fakes.picture(0, 1, 1400))
    style = schema.parse_style({**STUDIO, "backdrop": "", "credit": "me", "picture": {"file": "picture.png"}})

    def codes(guard: PictureGuard) -> set[str]:
        tester = StyleTester(Settings(), cast("Engines", GuardedEngines(guard)))
        return {each.code for each in tester.findings(Entry(style, folder)) if each.level == "error"}

    assert "picture_blocked" in codes(PictureGuard(Says(allowed=False), closed=False))
    assert "picture_blocked" not in codes(PictureGuard(Says(), closed=False))


@pytest.mark.parametrize("guard", [PictureGuard(Says(allowed=False), False), PictureGuard(None, True)])
def test_what_is_not_finished_is_not_shown_past_it(runner: JobRunner, guard: PictureGuard) -> None:
    shown: list[bool] = []

    class Drawing(FakeFlows):
        def __call__(self, context: JobContext) -> FlowResult:
            context.progress(0, 2, "Drawing", np.full((80, 80, 3), 90, np.uint8))
            shown.append(runner.files.preview(context.job.id).exists())
            return FlowResult(Outcome(), lambda: None)

    flows = runner.flows
    for each in (PictureGuard(Says(), closed=True), guard):
        guard_with(runner, each)
        drawing = Drawing()
        drawing.shows = flows.shows
        job = new_job(created=time.time())
        runner.ledger.jobs.add(job, [])
        assert replace(runner, flows=drawing, abilities=frozenset({"draw:studio"})).run_next("cpu")
        assert runner.ledger.jobs.get("ann", job.id).state == "succeeded"
    assert shown == [True, False]


@pytest.mark.parametrize("profile", ["research", "commercial"])
def test_a_worker_without_the_guard_does_nothing_where_nothing_may_pass(tmp_path: Path, profile: Profile) -> None:
    given = Settings(profile=profile, models=ModelStoreSettings(tmp_path / "models"))
    flows = PortraitFlows(given, cast("Engines", FakeEngines()))

    def told() -> set[str]:
        missing = flows.abilities().missing
        return {word for word, lines in missing.items() if any("models pull open_nsfw" in line for line in lines)}

    drawn = {"look", "prepare", "draw:studio", "draw:template", "draw:idphoto", "draw:text", "draw:inpaint"}
    assert told() == (drawn if profile == "commercial" else set())
    guard_network.write(tmp_path, 0.1)
    assert told() == set()
