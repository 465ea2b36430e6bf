"""Edits through the queue on tiny networks: made from a portrait, reproduced, and refused when the portrait was deleted."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.deliver import read_recipe
from pipelines.diffusion.sampling import previews
from pipelines.image_io import read
from pipelines.marks.marks import open_marks
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, Settings
from portrait.arrays import Image
from tasks.files import Files
from tasks.jobs import Job, required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.rows import SelfieRow
from tasks.queue import runner as running
from tasks.queue.flows import PortraitFlows
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests import fakes, tiny
from tests.tasks.stand import new_job
from tests.tasks.test_drawing import WORDS, TinyEngines, run, runner, settings  # noqa: F401 -- fixtures

NEEDS = required_abilities("generate", ["text"])
TECHNIQUE = {"base": "xl", "identities": ["photomaker"], "scheduler": "own", "steps": 3}
TRIANGLE = [[0.1, 0.2], [0.5, 0.2], [0.3, 0.5]]


def drawn(runner: JobRunner, tmp_path: Path, technique: Mapping[str, Any] = TECHNIQUE) -> Job:  # noqa: F811
    """A portrait of words."""
    ledger, files = runner.ledger, runner.files
    person = ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    photo = fakes.save(tmp_path / "a.png", fakes.picture(1, 1))
    id = new_id("selfie", 2.0)
    saved = files.save([photo.read_bytes()], files.selfie("ann", person, id), 10_000_000)
    ledger.people.add_selfie(SelfieRow(id, "ann", person, "a.png", saved.sha256, saved.bytes, 1, 1, "PNG", 2.0), 99)
    identity = run(runner, "prepare", required_abilities("prepare"), person=person).result["identity"]
    params: dict[str, Any] = {"identities": {"1": identity}, "style": "text-film", "technique": technique}
    return run(runner, "generate", NEEDS, **params, seed=3, size=[80, 100], count=1, format="png")


def edited(runner: JobRunner, before: Job, **edit: Any) -> dict[str, Any]:  # noqa: F811
    """The params of a job that edits the portrait of another."""
    (portrait,) = before.result["portraits"]
    params = {name: value for name, value in before.params.items() if name != "size"}
    return {**params, "seed": 8, "edit": {"portrait": portrait, "words": "", "area": [], "strength": None, **edit}}


def picture(runner: JobRunner, job: Job) -> Image:  # noqa: F811
    return read(file_of(runner, job)).image


def file_of(runner: JobRunner, job: Job) -> Path:  # noqa: F811
    return next(runner.files.portraits("ann", job.id).glob("*.png"))


def test_a_portrait_is_edited_in_every_kind(runner: JobRunner, tmp_path: Path) -> None:  # noqa: F811
    first = drawn(runner, tmp_path)
    before = picture(runner, first)
    assert before.shape == (100, 80, 3)
    kinds: list[dict[str, Any]] = [
        {"kind": "variations"},
        {"kind": "change", "words": "with a hat"},
        {"kind": "repaint", "area": [TRIANGLE]},
        {"kind": "extend", "shape": [1, 1]},
    ]
    made = [run(runner, "generate", NEEDS, **edited(runner, first, **kind_)) for kind_ in kinds]
    images = [picture(runner, job) for job in made]
    assert [image.shape for image in images] == [(100, 80, 3)] * 3 + [(100, 100, 3)]
    assert not any(np.array_equal(before, image) for image in images)
    assert np.array_equal(images[2][:19], before[:19])
    assert np.array_equal(images[2][51:], before[51:])
    assert np.array_equal(images[3][:, 13:87], before[:, 3:77])
    for job, kind_ in zip(made, kinds, strict=True):
        recipe = read_recipe(file_of(runner, job))
        assert recipe["edit"]["kind"] == kind_["kind"]
        assert len(recipe["edit"]["picture"]) == 64
        assert b"trainedAlgorithmicMedia" in file_of(runner, job).read_bytes()
    again = run(runner, "generate", NEEDS, **made[2].params, candidate=0, refiners=[])
    assert np.array_equal(picture(runner, again), images[2])


def test_an_instruction_is_carried_out_with_an_uploaded_picture(
    sqlite: Ledger,
    tmp_path: Path,
    settings: Settings,  # noqa: F811
) -> None:
    bases = {**settings.bases, "klein": BaseLocation(tiny.flux2(tmp_path / "klein", distilled=True))}
    on_it = replace(settings, bases=bases)
    with TinyEngines(on_it, ModelStore(settings.models)) as engines:
        on_klein = JobRunner(
            "w", sqlite, Files(tmp_path / "data"), PortraitFlows(on_it, engines), LeaseSettings(), WORDS
        )
        first = drawn(on_klein, tmp_path, {"base": "klein", "identities": ["reference"]})
        coat = fakes.save(tmp_path / "coat.png", fakes.picture(2, 3, 80)).read_bytes()
        on_klein.files.save([coat], on_klein.files.template("ann", "picture_1"), 10_000_000)
        told = {"kind": "instruct", "words": "Give them this coat."}
        alone, made = (
            run(on_klein, "generate", NEEDS, **edited(on_klein, first, **told, **more))
            for more in ({}, {"with": ["picture_1"]})
        )
        assert not np.array_equal(picture(on_klein, alone), picture(on_klein, made))
        recipe = read_recipe(file_of(on_klein, made), open_marks(on_it.marks))
        assert recipe["drawn"]["prompt"] == told["words"]
        again = run(on_klein, "generate", NEEDS, **made.params, remake=made.result["portraits"][0])
        assert np.array_equal(picture(on_klein, again), picture(on_klein, made))
        on_klein.files.template("ann", "picture_1").unlink()
        job = new_job(created=time.time(), kind="generate", params=made.params, needs=NEEDS)
        sqlite.jobs.add(job, [])
        assert on_klein.run_next("cpu")
        fault = sqlite.jobs.get("ann", job.id).fault
        assert fault is not None
        assert fault.code == "hint_missing"


def test_previews_appear_step_by_step(
    runner: JobRunner,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures: list[Image] = []
    written = running.write_preview

    def write(image: Image, path: Path) -> Path:
        pictures.append(image)
        return written(image, path)

    monkeypatch.setattr(previews, "INTERVAL", 0.0)
    monkeypatch.setattr(running, "REPORT_INTERVAL", 0.0)
    monkeypatch.setattr(running, "PREVIEW_INTERVAL", 0.0)
    monkeypatch.setattr(running, "write_preview", write)
    done = drawn(runner, tmp_path)
    width, height = read_recipe(file_of(runner, done))["drawn"]["size"]
    steps = [image for image in pictures if image.shape == (height // 2, width // 2, 3)]
    assert len(steps) == 3
    assert not np.array_equal(steps[0], steps[2])
    assert done.preview == len(pictures)


def test_a_portrait_that_was_deleted_meanwhile_is_not_found(runner: JobRunner, tmp_path: Path) -> None:  # noqa: F811
    first = drawn(runner, tmp_path)
    params = edited(runner, first, kind="variations")
    runner.ledger.erasures.erase_portrait(Request("ann", time.time()), first.result["portraits"][0])
    job = new_job(created=time.time(), kind="generate", params=params, needs=NEEDS)
    runner.ledger.jobs.add(job, [])
    assert runner.run_next("cpu")
    done = runner.ledger.jobs.get("ann", job.id)
    assert done.state == "failed"
    assert done.fault is not None
    assert done.fault.code in {"not_found", "erased"}


@pytest.mark.parametrize("edit", [{"kind": "extend", "shape": [4, 5]}, {"kind": "repaint"}, {"kind": "none"}], ids=str)
def test_an_edit_that_cannot_be_drawn_fails_at_once_and_says_why(
    runner: JobRunner,  # noqa: F811
    tmp_path: Path,
    edit: dict[str, Any],
) -> None:
    first = drawn(runner, tmp_path)
    job = new_job(created=time.time(), kind="generate", params=edited(runner, first, **edit), needs=NEEDS)
    runner.ledger.jobs.add(job, [])
    assert runner.run_next("cpu")
    done = runner.ledger.jobs.get("ann", job.id)
    assert (done.state, done.failures) == ("failed", 0)
    assert done.fault is not None
    assert done.fault.code in {"bad_edit", "bad_mask"}
