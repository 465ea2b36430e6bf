"""The real flows on the files of a ledger: with fake engines, and with the real ones."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from pipelines.engines import Engines
from pipelines.engines.painters import numbers_drawn
from pipelines.engines.painters.studio import Studio
from pipelines.folders import cut_outs
from pipelines.guards.pictures import PictureGuard
from pipelines.settings import MarkSettings, Settings
from portrait.arrays import Size
from portrait.ports import FaceFinder, Matter, Painter, Progress, Restorer
from portrait.studio.composition import USUAL
from portrait.studio.subject import CutOut
from portrait.types import Candidate, Composition, PortraitRequest, Reference
from tasks.files import Files
from tasks.jobs import Job, required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.pictures import PortraitFilter
from tasks.ledger.rows import SelfieRow, TemplateRow
from tasks.queue.flows import PortraitFlows
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests import fakes, selfies
from tests.cut_out_person import cut_out
from tests.foreign_files import forbid_reading
from tests.tasks.stand import new_job, portraits_of

WORDS = frozenset({"look", "prepare", "draw:studio", "draw:template", "draw:idphoto"})


class FakeEngines:
    """Engines that need no model, and a painter who copies the best photo."""

    def finder(self) -> FaceFinder:
        return fakes.FakeFinder()

    def restorer(self) -> Restorer:
        return fakes.FakeRestorer()

    def matter(self) -> Matter:
        return fakes.FakeMatter()

    def attributes(self) -> None:
        return None

    def detailer(self) -> None:
        return None

    def painter(self, name: str) -> Painter:
        return CopyingPainter()

    def picture_guard(self) -> PictureGuard:
        return PictureGuard(None, closed=False)


class CopyingPainter:
    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        best = request.people[1].references[0]
        progress(0, request.count, "Drawing", best.image)
        return [
            Candidate(best.image, {1: best.name}, {"number": float(number)})
            for number in numbers_drawn(request, request.count)
        ]


@pytest.fixture
def runner(sqlite: Ledger, tmp_path: Path) -> JobRunner:
    flows = PortraitFlows(Settings(marks=MarkSettings(tmp_path / "marks")), cast("Engines", FakeEngines()))
    return JobRunner("w", sqlite, Files(tmp_path / "data"), flows, LeaseSettings(), WORDS)


def keep(runner: JobRunner, person: str, file: Path, name: str, at: float) -> SelfieRow:
    id = new_id("selfie", at)
    saved = runner.files.save([file.read_bytes()], runner.files.selfie("ann", person, id), 10_000_000)
    row = SelfieRow(id, "ann", person, name, saved.sha256, saved.bytes, 1, 1, "PNG", at)
    return runner.ledger.people.add_selfie(row, 99)


def run(runner: JobRunner, kind: str, person: str, style_kinds: list[str] | None = None, **params: Any) -> Job:
    now = time.time()
    job = new_job(
        created=now, kind=kind, params={"person": person, **params}, needs=required_abilities(kind, style_kinds or [])
    )
    runner.ledger.jobs.add(job, [person])
    assert runner.run_next("cpu")
    return runner.ledger.jobs.get("ann", job.id)


def test_from_selfies_to_portraits(runner: JobRunner, tmp_path: Path) -> None:
    ledger = runner.ledger
    person = ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    images = [fakes.picture(1, 1), fakes.picture(1, 2), fakes.picture(0, 3), fakes.picture(1, 4)]
    files = [fakes.save(tmp_path / f"{at}.png", image) for at, image in enumerate(images)]
    rows = [keep(runner, person, file, f"photo {at}.png", 2.0 + at) for at, file in enumerate(files)]
    ledger.people.set_override("ann", rows[3].id, "exclude")
    prepared = run(runner, "prepare", person)
    assert prepared.state == "succeeded", prepared.fault
    judged = ledger.people.selfies("ann", person)
    assert [each.verdict for each in judged] == ["use", "use", "refuse", "spare"]
    assert [[reason["code"] for reason in each.reasons] for each in judged[2:]] == [["no_face"], ["excluded"]]
    assert [each.serves is None for each in judged] == [False, False, True, False]
    identity = ledger.people.identities("ann", person)[0]
    assert identity.id == prepared.result["identity"]
    folder = runner.files.training_set("ann", person, identity.training_set)
    assert "photo 0.png" not in (folder / "set.json").read_text(), "what a person typed names nothing"

    made = run(
        runner, "generate", person, ["studio"], identities={"1": identity.id}, style="studio-grey", count=3, seed=7
    )
    assert made.state == "succeeded", made.fault
    drawn = ledger.portraits.list("ann", PortraitFilter(person=person)).items
    assert [each.id for each in drawn] == made.result["portraits"]
    assert [each.number for each in drawn] == [1, 2, 3]
    assert drawn[0].recipe["people"] == {"1": identity.id}
    for each in drawn:
        file = runner.files.portrait("ann", made.id, each.file)
        assert file.stat().st_size == each.bytes
    # Of the photo that was chosen: a reference, one that is none, and again when it is made once more.
    order: dict[str, Any] = {"identities": {"1": identity.id}, "style": "idphoto-passport", "count": 1, "seed": 7}
    for photo in (judged[0].id, judged[3].id):
        made = run(runner, "generate", person, ["idphoto"], **order, photo=photo)
        [first] = portraits_of(ledger, made)
        again = run(runner, "generate", person, ["idphoto"], **order, photo=photo, remake=first.id)
        assert [each.recipe["photos"] for each in (first, *portraits_of(ledger, again))] == [{"1": photo}] * 2
    made = run(runner, "generate", person, ["idphoto"], **order)
    assert portraits_of(ledger, made)[0].recipe["photos"] == {"1": judged[1].id}, "the best one"


def test_judging_leaves_the_cut_outs_for_previews(
    runner: JobRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    keep(runner, person, fakes.save(tmp_path / "a.png", fakes.picture(1, 1)), "me.png", 2.0)
    asked: list[tuple[str, ...]] = []

    def cut(self: Studio, references: Sequence[Reference], size: Size, suited: Sequence[Composition]) -> CutOut | None:
        asked.append(tuple(suited))
        return cut_out()

    monkeypatch.setattr(Studio, "cut_out", cut)
    monkeypatch.setattr(FakeEngines, "painter", lambda self, name: Studio(lambda _: fakes.FakeMatter()))
    assert run(runner, "prepare", person).state == "succeeded"
    [row] = runner.ledger.people.training_sets("ann", person)
    folder = runner.files.training_set("ann", person, row.id)
    assert asked == [USUAL], "no photo serves a half figure"
    assert cut_outs.read(cut_outs.place(folder)).face.box == cut_out().face.box
    assert not cut_outs.place(folder, ("half_figure",)).exists()


def test_without_a_usable_photo_every_verdict_is_stored(runner: JobRunner, tmp_path: Path) -> None:
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    keep(runner, person, fakes.save(tmp_path / "a.png", fakes.picture(0, 1)), "nobody.png", 2.0)
    job = run(runner, "prepare", person)
    assert job.fault is not None
    assert (job.state, job.fault.branch, job.fault.code) == ("failed", "UserError", "no_usable_photos")
    assert runner.ledger.people.selfies("ann", person)[0].verdict == "refuse"
    assert runner.ledger.people.identities("ann", person) == []


def test_photos_of_another_user_are_not_judged(
    runner: JobRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    keep(runner, person, fakes.save(tmp_path / "a.png", fakes.picture(1, 1)), "me.png", 2.0)
    with monkeypatch.context() as other_user:
        forbid_reading(other_user, runner.files.root / "owners")
        job = run(runner, "prepare", person)
    assert job.fault is not None
    assert (job.state, job.fault.branch, job.fault.code) == ("failed", "OperatorError", "no_permission")
    assert str(tmp_path) not in job.fault.message
    assert runner.ledger.people.selfies("ann", person)[0].verdict == "", "a photo that nobody saw is not called broken"


def test_what_cannot_be_drawn_says_so(runner: JobRunner) -> None:
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    stranger = run(runner, "generate", person, ["studio"], identities={"1": "identity-x"}, style="studio-grey")
    assert stranger.fault is not None
    assert stranger.fault.code == "not_found"
    runner.ledger.jobs.add(new_job(kind="sing", needs=required_abilities("sing")))
    assert not runner.run_next("cpu"), "nobody can do it, so nobody takes it"


def test_with_the_real_engines(sqlite: Ledger, tmp_path: Path, settings: Settings, engines: Engines) -> None:
    flows = PortraitFlows(settings, engines)
    able = flows.abilities()
    assert able.words == WORDS, able.missing
    runner = JobRunner("w", sqlite, Files(tmp_path / "data"), flows, LeaseSettings(), able.words)
    person = sqlite.people.add("ann", "Ann", "1", "Ann", 1.0).id
    file = fakes.save(tmp_path / "a.png", selfies.astronaut())
    keep(runner, person, file, "me.png", 2.0)
    prepared = run(runner, "prepare", person)
    assert prepared.state == "succeeded", prepared.fault
    made = run(
        runner,
        "generate",
        person,
        ["studio"],
        identities={"1": prepared.result["identity"]},
        style="studio-grey",
        size=[240, 320],
    )
    assert made.state == "succeeded", made.fault
    drawn = portraits_of(sqlite, made)[0]
    assert (drawn.width, drawn.height) == (240, 320)
    assert drawn.likeness["1"]["distance"] < 0.4


def test_a_worker_without_models_says_what_is_missing(tmp_path: Path, settings: Settings) -> None:
    from dataclasses import replace

    bare = replace(settings, models=replace(settings.models, folder=tmp_path))
    able = PortraitFlows(bare, cast("Engines", FakeEngines())).abilities()
    assert able.words == frozenset()
    assert "portrait models pull" in " ".join(able.missing["prepare"])


def test_the_faces_of_a_picture_are_found_and_numbered(runner: JobRunner, tmp_path: Path) -> None:
    now = time.time()
    file = fakes.save(tmp_path / "a.png", fakes.picture(1, 1))
    saved = runner.files.save([file.read_bytes()], runner.files.template("ann", "template_1"), 10_000_000)
    row = TemplateRow("template_1", "ann", "party.png", saved.bytes, 1, 1, "PNG", "job_1", now)
    runner.ledger.templates.add(row, 9)
    job = new_job(created=now, kind="look", params={"template": "template_1"}, needs=required_abilities("look"))
    runner.ledger.jobs.add(job)
    assert runner.run_next("cpu")
    assert runner.ledger.jobs.get("ann", job.id).result == {"template": "template_1", "faces": 1}
    faces = runner.ledger.templates.get("ann", "template_1").faces
    assert faces is not None
    assert 0 <= faces[0]["left"] < faces[0]["right"] <= 1


def test_a_picture_without_a_face_says_so_by_its_name(runner: JobRunner, tmp_path: Path) -> None:
    now = time.time()
    file = fakes.save(tmp_path / "a.png", fakes.picture(0, 1))
    runner.files.save([file.read_bytes()], runner.files.template("ann", "template_2"), 10_000_000)
    runner.ledger.templates.add(TemplateRow("template_2", "ann", "tree.png", 1, 1, 1, "PNG", "job_2", now), 9)
    job = new_job(created=now, kind="look", params={"template": "template_2"}, needs=required_abilities("look"))
    runner.ledger.jobs.add(job)
    assert runner.run_next("cpu")
    fault = runner.ledger.jobs.get("ann", job.id).fault
    assert fault is not None
    assert fault.code == "template_no_face"
    assert "tree.png" in fault.message
    assert runner.ledger.templates.get("ann", "template_2").faces is None
