"""A worker process that is killed in mid-training, and another that goes on: over a broker, to the last bit."""

import time
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import torch

from pipelines.diffusion.training.checkpoints import STATE
from pipelines.folders import identities
from pipelines.folders import training_sets as sets
from tasks.jobs import Job, required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.rows import TrainingSetRow
from tasks.ledger.tables import training_sets
from tasks.queue import broker
from tests import tiny
from tests.pipelines.engines import tiny_training
from tests.tasks.stand import Stand, kill, new_job, wait_until

SETTINGS = """
[bases.small]
path = "{base}"

[tasks]
cpu_for_gpu_queues = true

[train]
steps = 40
rank = 4
rate = 1e-3
batch = 1
checkpoint_every = 5

[train.exam]
every = 20
steps = 1
held_out = 1
patience = 0
"""
WORKER: dict[str, Any] = {
    "FLOWS": "tests.tasks.training_flows:open_flows",
    "QUEUES": "gpu.train",
    "LOADED": "tests.tasks.training_flows",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture
def learning(stand: Stand) -> Stand:
    """With a tiny base called `small`."""
    base = tiny.flux2(stand.home / "small")
    (stand.home / "portrait.toml").write_text(SETTINGS.format(base=base))
    return stand


def add_training(stand: Stand) -> Job:
    """Add a person with a training set, and a training job."""
    now = time.time()
    person = stand.ledger.people.add("ann", "Ann", "1", "Ann", now).id
    row = TrainingSetRow(new_id("set", now), "ann", person, "job-0", [], now)
    sets.write(tiny_training.training_set(), stand.files.training_set("ann", person, row.id))
    with stand.ledger.people.database.write() as connection:
        connection.execute(sa.insert(training_sets).values(asdict(row)))
    params = {"person": person, "training_set": row.id, "base": "small"}
    job = new_job(
        created=now, kind="train", queue="gpu.train", params=params, needs=required_abilities("train", base="small")
    )
    stand.ledger.jobs.add(job, [person])
    broker.notify(stand.app, "gpu.train")
    return job


def identity_folder(stand: Stand, job: Job) -> Path:
    """The folder of the trained identity."""
    done = stand.wait_for(job, "succeeded", "failed", within=300)
    assert done.state == "succeeded", done.fault
    return stand.files.identity("ann", str(job.params["person"]), str(done.result["identity"]))


def last_step(work_dir: Path) -> int:
    """Steps of the newest checkpoint; 0 when there is none."""
    file = work_dir / STATE
    return _steps(file, file.stat().st_mtime_ns) if file.is_file() else 0


@cache
def _steps(file: Path, written: int) -> int:
    """Steps of a checkpoint written at that time: who waits for the next one asks often, and would take time from it."""
    return len(torch.load(file, weights_only=True)["losses"])


def test_killed_in_mid_training_another_worker_goes_on_to_the_last_bit(learning: Stand) -> None:
    stand = learning
    first = stand.start_worker(**WORKER)
    job = add_training(stand)
    work_dir = stand.files.work_dir("ann", str(job.params["person"]), job.id)
    wait_until(lambda: last_step(work_dir) >= 10, within=300, what=stand.log())
    kill(first)
    before = last_step(work_dir)
    assert before < 40
    stand.start_keeper()
    stand.start_worker(**WORKER)
    wait_until(lambda: last_step(work_dir) != before, within=300, what=stand.log())
    assert last_step(work_dir) > before, "it began anew"
    broken, uninterrupted = identity_folder(stand, job), identity_folder(stand, add_training(stand))
    assert stand.get_job(job).losses == 1
    one, other = (identities.read(each).description for each in (broken, uninterrupted))
    assert (one["steps"], one["losses"], one["chosen"]) == (40, other["losses"], other["chosen"])
    assert (broken / "lora.safetensors").read_bytes() == (uninterrupted / "lora.safetensors").read_bytes()
