"""Jobs whose storage is away for a while, and trainings that go on on another machine."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from portrait.arrays import Image
from portrait.errors import OperatorError
from tasks.files import Files
from tasks.jobs import Job
from tasks.ledger.ledger import Ledger
from tasks.queue.flows import JobContext
from tasks.queue.runner import JobRunner
from tasks.queue.running import checkpoints
from tasks.settings import LeaseSettings
from tasks.storage import transient
from tests.tasks.early_flows import EarlyFlows
from tests.tasks.stand import new_job, portraits_of
from tests.tasks.storage.conftest import Machine
from tests.tasks.storage.test_s3 import wired as wired
from tests.tasks.storage.test_storage import write
from tests.tasks.wire import Wire


@pytest.fixture
def runner(sqlite: Ledger, wired: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobRunner:
    """A worker whose wire to the storage can be cut."""
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))
    flows = EarlyFlows()
    return JobRunner("w", sqlite, wired, flows, LeaseSettings(seconds=60, heartbeat=1), flows.abilities().words)


def run(runner: JobRunner, wire: Wire, seconds: float) -> Job:
    """Run a job of three portraits; the storage goes away before the second."""
    job = runner.ledger.jobs.add(new_job(params={"count": 3}, units=3))

    def at(number: int, context: JobContext) -> None:
        if number == 1 and wire.state == "through":
            wire.set("down")
            if seconds:
                threading.Timer(seconds, wire.set, ("through",)).start()

    assert replace(runner, flows=EarlyFlows(at)).run_next("cpu")
    return runner.ledger.jobs.get("ann", job.id)


def test_portraits_that_are_finished_wait_for_the_storage(runner: JobRunner, wire: Wire) -> None:
    done = run(runner, wire, 4)
    assert (done.state, done.losses, done.failures) == ("succeeded", 0, 0)
    rows = portraits_of(runner.ledger, done)
    assert len(rows) == 3
    assert runner.files.names(runner.files.portraits("ann", done.id)) == sorted(row.file for row in rows)


def test_a_job_is_given_back_when_the_storage_stays_away_and_keeps_what_it_has(
    runner: JobRunner, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transient.retry, "__defaults__", (1.0,))
    given_back = run(runner, wire, 0)
    assert (given_back.state, given_back.losses, given_back.failures) == ("queued", 0, 0)
    assert len(portraits_of(runner.ledger, given_back)) == 1
    wire.set("through")
    assert runner.run_next("cpu")
    done = runner.ledger.jobs.get("ann", given_back.id)
    assert (done.state, len(portraits_of(runner.ledger, done))) == ("succeeded", 3)


def test_other_errors_are_not_tried_again() -> None:
    calls: list[int] = []

    def act() -> None:
        calls.append(1)
        raise OperatorError("disk_full", "The disk is full.")

    with pytest.raises(OperatorError):
        transient.retry(act)
    assert calls == [1]


def test_checkpoints_reach_the_machine_that_goes_on(
    machine: Machine, wired: Files, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "KEEP_SECONDS", 0.0)
    heard: list[int] = []

    def progress(done: int, total: int, doing: str, preview: Image | None = None) -> None:
        heard.append(done)

    work_dir = wired.work_dir("ann", "p1", "j1")
    work_dir.mkdir(parents=True)
    keeper = checkpoints.CheckpointKeeper(wired, work_dir, progress)
    write(work_dir / "state.pt", b"step 1")
    keeper(1, 9, "Learning")
    other = machine("two")
    there = other.fetch_folder(other.work_dir("ann", "p1", "j1"))
    assert (there / "state.pt").read_bytes() == b"step 1"
    wire.set("down")
    write(work_dir / "state.pt", b"step 2")
    write(work_dir / "steps" / "000002.safetensors", b"weights")
    keeper(2, 9, "Learning")
    wire.set("through")
    keeper(3, 9, "Learning")
    assert heard == [1, 2, 3]
    assert {path.name: path.read_bytes() for path in other.fetch_folder(there).rglob("*.*")} == {
        "state.pt": b"step 2",
        "000002.safetensors": b"weights",
    }
