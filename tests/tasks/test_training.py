"""Training jobs: through the queue, cancelled, resumed by another worker, erased."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
import torch

from pipelines import build
from pipelines.engines import Engines
from pipelines.folders import identities
from pipelines.folders import training_sets as sets
from pipelines.settings import (
    BaseLocation,
    MarkSettings,
    ModelStoreSettings,
    Settings,
    TrainSettings,
    ValidationSettings,
)
from portrait.errors import Cancelled
from portrait.ports import Progress
from portrait.training import TrainingJob
from tasks.erasing import finish_erasure
from tasks.files import Files
from tasks.jobs import Job, required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.rows import TrainingSetRow
from tasks.ledger.tables import training_sets
from tasks.queue.flows import FlowResult, JobContext, PortraitFlows
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests import tiny
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import RecordedProgress
from tests.tasks.stand import new_job
from tests.tasks.training_flows import LearningEngines

KNOBS = TrainSettings(
    steps=12,
    rank=4,
    rate=1e-2,
    batch=1,
    checkpoint_every=4,
    flips=False,
    exam=ValidationSettings(every=6, steps=1, held_out=1),
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An installation with a tiny base of each family, `small` and `large`."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("lessons")
    bases = {"small": BaseLocation(tiny.sd15(folder / "small")), "large": BaseLocation(tiny.sdxl(folder / "large"))}
    marks = MarkSettings(folder / "marks", invisible=False)
    yield Settings(models=ModelStoreSettings(folder=folder / "models"), marks=marks, train=KNOBS, bases=bases)
    torch.set_num_threads(before)


def stop() -> None:
    """As a stopping worker does."""
    raise Cancelled("stopping", "The worker stops.")


class Stopping(PortraitFlows):
    """Flows that are stopped at some words."""

    at = ""
    heard: list[str]

    def __init__(self, settings: Settings, engines: Engines) -> None:
        super().__init__(settings, engines)
        self.then: Callable[[], None] = stop

    def __call__(self, context: JobContext) -> FlowResult:
        self.heard = []

        def progress(done: int, total: int, doing: str, preview: Any = None) -> None:
            self.heard.append(f"{done} {doing}")
            if self.at and self.at in f"{done} {doing}":
                self.then()
            context.progress(done, total, doing, preview)

        return super().__call__(replace(context, progress=cast("Progress", progress)))


@pytest.fixture
def runner(sqlite: Ledger, tmp_path: Path, settings: Settings) -> JobRunner:
    flows = Stopping(settings, cast("Engines", LearningEngines(settings)))
    return JobRunner(
        "w", sqlite, Files(tmp_path / "data"), flows, LeaseSettings(), frozenset({"train:small", "train:large"})
    )


def add_training(runner: JobRunner, base: str = "small", **params: Any) -> Job:
    """Add a person with a training set, and a training job."""
    now = time.time()
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", now).id
    row = TrainingSetRow(new_id("set", now), "ann", person, "job-0", [], now)
    sets.write(tiny_training.training_set(), runner.files.training_set("ann", person, row.id))
    with runner.ledger.people.database.write() as connection:
        connection.execute(sa.insert(training_sets).values(asdict(row)))
    given = {"person": person, "training_set": row.id, "base": base, **params}
    job = new_job(
        created=now, kind="train", queue="gpu.train", params=given, needs=required_abilities("train", base=base)
    )
    return runner.ledger.jobs.add(job, [person])


@pytest.mark.parametrize("base", ["small", "large"])
def test_a_person_is_trained_through_the_queue(
    runner: JobRunner, settings: Settings, tmp_path: Path, base: str
) -> None:
    job = add_training(runner, base, steps=6, seed=3)
    assert not runner.run_next("cpu"), "it waits in another queue"
    assert runner.run_next("gpu.train")
    done = runner.ledger.jobs.get("ann", job.id)
    assert done.state == "succeeded", done.fault
    person = str(job.params["person"])
    row = runner.ledger.people.identities("ann", person)[0]
    assert (row.id, row.base) == (done.result["identity"], base)
    stored = identities.read(runner.files.identity("ann", person, row.id))
    assert (stored.description["steps"], stored.description["settings"]["seed"]) == (6, 3)
    assert (stored.folder / "report.html").is_file()
    (tmp_path / "work_dir").mkdir()
    directly = LearningEngines(settings).trainer()
    trained = directly.train(
        TrainingJob(tiny_training.training_set(), base, tmp_path / "work_dir", None, {"steps": 6, "seed": 3}),
        RecordedProgress(),
    )
    assert trained.lora is not None
    assert (stored.folder / "lora.safetensors").read_bytes() == trained.lora.read_bytes(), "as without a queue"
    assert not runner.files.work_dir("ann", person, job.id).exists()
    erasure = runner.ledger.erasures.erase_person(Request("ann", 1.0), person)
    assert finish_erasure(runner.ledger, runner.files, erasure, time.time()).done
    assert not stored.folder.exists()


def test_another_worker_goes_on_where_one_stopped(runner: JobRunner, tmp_path: Path) -> None:
    flows = cast("Stopping", runner.flows)
    job = add_training(runner)
    flows.at = "9 Learning at loss"
    assert runner.run_next("gpu.train")
    assert runner.ledger.jobs.get("ann", job.id).state == "queued"
    flows.at = ""
    assert runner.run_next("gpu.train")
    steps = [line for line in flows.heard if "Learning at loss" in line]
    assert steps[0].startswith("10 "), "no step is done twice: the state was saved where it stopped"
    done = runner.ledger.jobs.get("ann", job.id)
    assert done.state == "succeeded", done.fault
    again = add_training(runner)
    assert runner.run_next("gpu.train")
    files = [
        runner.files.identity(
            "ann", str(each.params["person"]), runner.ledger.jobs.get("ann", each.id).result["identity"]
        )
        for each in (job, again)
    ]
    first, second = ((folder / "lora.safetensors").read_bytes() for folder in files)
    assert first == second, "as if nothing had happened"


def test_a_cancelled_training_leaves_nothing(runner: JobRunner) -> None:
    flows = cast("Stopping", runner.flows)
    job = add_training(runner)
    work_dir = runner.files.work_dir("ann", str(job.params["person"]), job.id)
    found: list[bool] = []

    def cancel() -> None:
        found.append((work_dir / "state.pt").is_file())
        runner.ledger.jobs.cancel("ann", job.id, time.time())
        raise Cancelled

    flows.at, flows.then = "6 Learning at loss", cancel
    assert runner.run_next("gpu.train")
    assert runner.ledger.jobs.get("ann", job.id).state == "cancelled"
    assert found == [True]
    assert not work_dir.exists()
    assert runner.ledger.people.identities("ann", str(job.params["person"])) == []


def test_what_a_worker_can_learn_on_is_one_of_its_abilities(settings: Settings, tmp_path: Path) -> None:
    lacks = build.missing_by_base(settings)
    assert lacks["small"] == []
    assert "portrait models pull sdxl" in " ".join(lacks["sdxl"])
    able = PortraitFlows(settings, cast("Engines", LearningEngines(settings))).abilities()
    assert "train:small" in able.words
    assert "train:sd15" in able.missing


def test_bad_overrides_and_sets_of_others_are_refused(runner: JobRunner) -> None:
    job = add_training(runner, start="identity-x")
    assert runner.run_next("gpu.train")
    fault = runner.ledger.jobs.get("ann", job.id).fault
    assert fault is not None
    assert fault.code == "not_found"
