"""Real worker processes: what they can do, how they stop, how they share a GPU, and what becomes of one that dies."""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from typing import Any

import pytest

from tasks.jobs import Job, required_abilities
from tasks.ledger.rows import WorkerRow
from tasks.queue import broker
from tests.tasks.stand import LEASE, ROOT, Stand, new_job, wait_until

ON_GPU: dict[str, Any] = {"QUEUES": "gpu.train,gpu.generate", "PORTRAIT_TASKS__CPU_FOR_GPU_QUEUES": "true"}
"""A worker of both queues of GPUs."""


def worker_row(stand: Stand) -> WorkerRow:
    (row,) = stand.ledger.workers.list_live(time.time())
    return row


def test_missing_abilities_include_those_of_queues_that_are_not_served(stand: Stand) -> None:
    stand.start_worker(QUEUES="cpu")
    row = worker_row(stand)
    assert row.abilities == ["draw:studio", "prepare"]
    assert row.missing["draw:template"] == ["No model for it."]
    (reason,) = row.missing["draw:text"]
    assert "gpu.generate" in reason, "the models are here, the worker is not"
    assert row.version == version("portrait")


def test_a_job_whose_process_is_killed_three_times_fails_with_the_reason(stand: Stand) -> None:
    worker = stand.start_worker()
    began = time.monotonic()
    poison = stand.add_job(fails="killed")
    failed = stand.wait_for(poison, "failed", "succeeded")
    assert failed.fault is not None
    assert (failed.fault.code, failed.failures, failed.losses) == ("worker_died", 3, 0)
    assert "3 times" in failed.fault.message
    assert "memory" in failed.fault.message
    assert time.monotonic() - began < 60, "nobody waited for a lease to expire"
    assert stand.app.conf.worker_lost_wait < LEASE, "nor for the result of a process that died"
    assert stand.wait_for(stand.add_job(), "succeeded").failures == 0
    assert worker.poll() is None, "the worker itself goes on"
    assert len(stand.worker_ids()) == 1, "processes that died are not on the list"


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_worker_whose_idle_process_was_killed_goes_on_and_stops_when_told(stand: Stand, start: str) -> None:
    worker = stand.start_worker(START=start)
    stand.wait_for(stand.add_job(), "succeeded")
    (before,) = stand.worker_ids()
    time.sleep(0.5)  # it waits for its next message by now
    os.kill(int(before.rpartition(":")[2]), signal.SIGKILL)
    wait_until(lambda: stand.worker_ids() - {before}, what=stand.log())
    stand.wait_for(stand.add_job(), "succeeded")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0
    wait_until(lambda: not stand.worker_ids(), within=10, what=f"its rows are gone\n{stand.log()}")


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_process_that_has_rested_makes_room_for_one_without_engines(stand: Stand, start: str) -> None:
    worker = stand.start_worker(START=start, PORTRAIT_DRAW__IDLE_MINUTES="0.02")
    (unused,) = stand.worker_ids()
    stand.wait_for(stand.add_job(), "succeeded")
    assert stand.worker_ids() == {unused}, "one that has done nothing holds no engines"
    wait_until(lambda: stand.worker_ids() - {unused}, what=stand.log())
    assert "makes room" in stand.log()
    assert '"level": "ERROR"' not in stand.log()
    stand.wait_for(stand.add_job(), "succeeded")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0
    wait_until(lambda: not stand.worker_ids(), within=10, what=f"its rows are gone\n{stand.log()}")


def training(stand: Stand, steps: int) -> Job:
    """A training of so many steps of a tenth of a second."""
    needs, params = required_abilities("train", base="made"), {"steps": steps, "seconds": 0.1}
    job = stand.ledger.jobs.add(new_job(kind="train", queue="gpu.train", needs=needs, params=params))
    broker.notify(stand.app, "gpu.train")
    return job


def drawing(stand: Stand) -> Job:
    job = stand.ledger.jobs.add(new_job(queue="gpu.generate", needs=required_abilities("generate", ["text"])))
    broker.notify(stand.app, "gpu.generate")
    return job


def test_a_training_lets_drawings_in_between_and_goes_on_where_it_was(stand: Stand) -> None:
    stand.start_worker(**ON_GPU, PORTRAIT_TASKS__WORKERS__TRAINING_TURN="1")
    long = training(stand, 60)
    wait_until(lambda: stand.get_job(long).progress > 0)
    for _ in range(2):
        stand.wait_for(drawing(stand), "succeeded")
        assert stand.get_job(long).state in {"queued", "running"}, "the drawing did not wait for the training's end"
    done = stand.wait_for(long, "succeeded")
    assert (done.losses, done.failures) == (0, 0)
    assert stand.count_runs(long) == 3
    noted = stand.files.work_dir("ann", "person", long.id) / "steps"
    assert noted.stat().st_size == 60, "no step was done twice"


def test_a_training_goes_on_while_no_drawing_waits(stand: Stand) -> None:
    stand.start_worker(**ON_GPU, PORTRAIT_TASKS__WORKERS__TRAINING_TURN="0.3")
    long = training(stand, 15)
    stand.wait_for(long, "succeeded")
    assert stand.count_runs(long) == 1


def test_a_worker_that_is_to_stop_finishes_its_job_within_the_grace(stand: Stand) -> None:
    worker = stand.start_worker()
    running, waiting = stand.add_job(steps=10, seconds=0.2), stand.add_job()
    wait_until(lambda: stand.get_job(running).progress > 0)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert stand.get_job(running).state == "succeeded"
    assert stand.count_runs(running) == 1
    assert stand.get_job(waiting).state == "queued", "it began nothing more"


def test_a_machine_is_drained(stand: Stand) -> None:
    workers = [stand.start_worker(PORTRAIT_TASKS__WORKERS__GRACE="0") for _ in range(2)]
    running = [stand.add_job(steps=10, seconds=0.2) for _ in range(2)]
    wait_until(lambda: all(stand.get_job(each).progress > 0 for each in running))
    command = [sys.executable, "-m", "app", "worker", "--drain"]
    environment = {**os.environ, **stand.environment}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as drain:
        assert drain.stdout is not None
        assert drain.stdout.readline().startswith("2 worker processes of ")
        anew = stand.start_worker(ready=False)  # as a supervisor does
        assert drain.wait(60) == 0
    assert [worker.wait(5) for worker in workers] == [0, 0]
    assert anew.poll() is None
    assert [stand.get_job(each).state for each in running] == ["succeeded"] * 2
    assert [stand.count_runs(each) for each in running] == [1, 1]


@pytest.mark.parametrize("known", [False, True], ids=["older", "newer"])
def test_a_job_of_an_unknown_kind_waits_for_a_newer_worker(stand: Stand, known: bool) -> None:
    job = stand.ledger.jobs.add(new_job(kind="film", needs=frozenset({"film"})))
    other = stand.add_job()
    flows = "open_newer_flows" if known else "open_flows"
    stand.start_worker(FLOWS=f"tests.tasks.fake_flows:{flows}")
    stand.start_keeper()
    stand.wait_for(other, "succeeded")
    if known:
        stand.wait_for(job, "succeeded")
    else:
        assert (stand.get_job(job).state, stand.count_runs(job)) == ("queued", 0)
