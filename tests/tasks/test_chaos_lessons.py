"""A worker process that is killed in mid-lesson, and another that goes on: over a broker, to the last bit."""

import time
from dataclasses import asdict
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
from tests.tasks.stand import Stand, kill, new_job, until

SETTINGS = """
[bases.small]
path = "{base}"

[tasks]
cpu_for_gpu_queues = true

[train]
steps = 120
rank = 4
rate = 1e-3
batch = 1
checkpoint_every = 5

[train.exam]
every = 40
steps = 1
held_out = 1
patience = 0
"""
WORKER: dict[str, Any] = {
    "FLOWS": "tests.tasks.learning_flows:open_flows",
    "QUEUES": "gpu.train",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture
def learning(stand: Stand) -> Stand:
    """With a tiny base called `small`."""
    base = tiny.sd15(stand.home / "small")
    (stand.home / "portrait.toml").write_text(SETTINGS.format(base=base))
    return stand


def asked(stand: Stand) -> Job:
    """A person with a training set, and the wish to learn them."""
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


def learned(stand: Stand, job: Job) -> Path:
    """The folder of what came of a lesson."""
    done = stand.wait(job, "succeeded", "failed", within=300)
    assert done.state == "succeeded", done.fault
    return stand.files.identity("ann", str(job.params["person"]), str(done.result["identity"]))


def kept(desk: Path) -> int:
    """Steps of the newest checkpoint; 0 when there is none."""
    file = desk / STATE
    return len(torch.load(file, weights_only=True)["losses"]) if file.is_file() else 0


def test_killed_in_mid_lesson_another_worker_goes_on_to_the_last_bit(learning: Stand) -> None:
    stand = learning
    first = stand.work(**WORKER)
    job = asked(stand)
    desk = stand.files.work_dir("ann", str(job.params["person"]), job.id)
    until(lambda: kept(desk) >= 10, within=300, what=stand.log())
    kill(first)
    before = kept(desk)
    assert before < 120
    stand.keep()
    stand.work(**WORKER)
    until(lambda: kept(desk) != before, within=300, what=stand.log())
    assert kept(desk) > before, "it began anew"
    broken, whole = learned(stand, job), learned(stand, asked(stand))
    assert stand.see(job).losses == 1
    one, other = (identities.read(each).description for each in (broken, whole))
    assert (one["steps"], one["losses"], one["chosen"]) == (120, other["losses"], other["chosen"])
    assert (broken / "lora.safetensors").read_bytes() == (whole / "lora.safetensors").read_bytes()
