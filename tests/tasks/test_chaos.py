"""Real worker processes, killed, frozen, doubled and starved; leases of three seconds."""

import os
import signal
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tasks.queue import broker
from tests.tasks import servers
from tests.tasks.conftest import stand_at
from tests.tasks.stand import Stand, kill, portraits_of, until


def delivered(stand: Stand, owner: str, job: str) -> list[str]:
    folder = stand.files.portraits(owner, job)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def nothing_staged(stand: Stand) -> None:
    """Wait until no worker has anything half done: a worker settles a job first and then clears its table."""
    until(lambda: not stand.files.staging_folders())


def test_killed_in_mid_job_it_finishes_once(any_stand: Stand) -> None:
    stand = any_stand
    first = stand.work()
    job = stand.ask(steps=20, seconds=0.1, count=4)
    until(lambda: stand.see(job).progress > 0)
    kill(first)
    stand.keep()
    stand.work()
    done = stand.wait(job, "succeeded", "failed")
    assert (done.state, done.losses, done.failures) == ("succeeded", 1, 0)
    assert stand.runs(job) == 2
    assert delivered(stand, "ann", job.id) == ["01.jpg", "02.jpg", "03.jpg", "04.jpg"]
    assert len(portraits_of(stand.ledger, job)) == 4


def test_five_rings_are_one_run(any_stand: Stand) -> None:
    stand = any_stand
    job = stand.ask(ring=False, steps=3, seconds=0.1)
    for _ in range(5):
        assert broker.notify(stand.app, "cpu")
    stand.work(PROCESSES="2")
    stand.wait(job, "succeeded")
    until(lambda: broker.pending_messages(stand.app, "cpu") == 0)
    time.sleep(0.3)
    assert stand.runs(job) == 1


def test_one_ring_is_enough_for_many_jobs(any_stand: Stand) -> None:
    stand = any_stand
    jobs = [stand.ask(f"owner{at % 2}", ring=False) for at in range(6)]
    stand.work()
    broker.notify(stand.app, "cpu")
    for job in jobs:
        stand.wait(job, "succeeded")
    assert [stand.runs(job) for job in jobs] == [1] * 6


def test_rings_that_were_lost_are_made_up_for(stand: Stand) -> None:
    job = stand.ask(ring=False)
    stand.work()
    stand.keep()
    stand.wait(job, "succeeded")


def test_redis_that_was_restarted_loses_nothing(tmp_path: Path) -> None:
    port = servers.free_port()
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        url = first.enter_context(servers.redis(port))
        stand = stack.enter_context(contextmanager(stand_at)(tmp_path, {"PORTRAIT_TASKS__BROKER": f"{url}/0"}))
        stand.work()
        stand.wait(stand.ask(), "succeeded")
        rung = [stand.ask(steps=5, seconds=0.1) for _ in range(3)]
        first.close()
        unheard = stand.ask()
        stand.keep()
        stack.enter_context(servers.redis(port))
        for job in (*rung, unheard):
            stand.wait(job, "succeeded")
        assert [stand.runs(job) for job in (*rung, unheard)] == [1] * 4


def test_rabbitmq_that_was_restarted_loses_nothing(tmp_path: Path) -> None:
    port, folder = servers.free_port(), tmp_path / "rabbitmq"
    folder.mkdir()
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        url = first.enter_context(servers.rabbitmq(port, folder))
        stand = stack.enter_context(contextmanager(stand_at)(tmp_path, {"PORTRAIT_TASKS__BROKER": url}))
        rung = [stand.ask() for _ in range(3)]
        first.close()
        unheard = stand.ask()
        stack.enter_context(servers.rabbitmq(port, folder))
        assert broker.pending_messages(stand.app, "cpu") == 3, "it keeps rings on its disk"
        stand.work()
        for job in (*rung, unheard):
            stand.wait(job, "succeeded")
        assert [stand.runs(job) for job in (*rung, unheard)] == [1] * 4


def test_postgresql_that_was_restarted_loses_nothing(tmp_path: Path) -> None:
    port = servers.free_port()
    with ExitStack() as stack:
        home = stack.enter_context(servers.folder("postgresql"))
        first = stack.enter_context(ExitStack())
        url = first.enter_context(servers.postgresql(port, home))
        told = {"PORTRAIT_TASKS__DATABASE": f"{url}/postgres"}
        stand = stack.enter_context(contextmanager(stand_at)(tmp_path, told))
        stand.work()
        stand.keep()
        jobs = [stand.ask(steps=5, seconds=0.2) for _ in range(3)]
        until(lambda: stand.see(jobs[0]).progress > 0)
        first.close()
        time.sleep(1)
        stack.enter_context(servers.postgresql(port, home))
        for job in jobs:
            done = stand.wait(job, "succeeded", "failed")
            assert (done.state, done.failures) == ("succeeded", 0)
            assert stand.runs(job) <= 1 + done.losses
            assert delivered(stand, "ann", job.id) == ["01.jpg"]


def test_a_worker_that_wakes_too_late_writes_nothing(stand: Stand) -> None:
    slow = stand.work()
    job = stand.ask(steps=30, seconds=0.1, count=2)
    until(lambda: stand.see(job).progress > 0)
    os.killpg(slow.pid, signal.SIGSTOP)
    stand.keep()
    stand.work()
    until(lambda: stand.runs(job) == 2, what="nobody took it over")
    os.killpg(slow.pid, signal.SIGCONT)
    done = stand.wait(job, "succeeded", "failed")
    assert (done.state, done.losses) == ("succeeded", 1)
    until(lambda: "was taken from this worker" in stand.log())
    assert delivered(stand, "ann", job.id) == ["01.jpg", "02.jpg"]
    nothing_staged(stand)


def test_cancel_while_queued_and_while_running(stand: Stand) -> None:
    waiting = stand.ask(ring=False)
    assert stand.ledger.jobs.cancel("ann", waiting.id, time.time()).state == "cancelled"
    stand.work()
    running = stand.ask(steps=100, seconds=0.2)
    until(lambda: stand.see(running).progress > 0)
    assert stand.ledger.jobs.cancel("ann", running.id, time.time()).state == "cancelling"
    done = stand.wait(running, "cancelled")
    assert (done.finished or 0) - (done.started or 0) < 100 * 0.2, "it stopped between two steps"
    assert stand.runs(waiting) == 0
    assert delivered(stand, "ann", running.id) == []
    nothing_staged(stand)
    assert stand.wait(stand.ask(), "succeeded")


def test_a_full_disk_fails_that_job_alone(stand: Stand) -> None:
    limit = 4_000_000
    stand.work(LIMIT=str(limit))
    large, small = stand.ask(bytes=2 * limit), stand.ask(bytes=1000)
    failed = stand.wait(large, "succeeded", "failed")
    assert failed.state == "failed"
    assert failed.fault is not None
    assert failed.fault.code == "disk_full"
    stand.wait(small, "succeeded")
    assert delivered(stand, "ann", large.id) == []
    nothing_staged(stand)
    assert delivered(stand, "ann", small.id) == ["01.jpg"]


def test_told_to_stop_it_gives_the_job_back(stand: Stand) -> None:
    worker = stand.work()
    job = stand.ask(steps=100, seconds=0.1)
    until(lambda: stand.see(job).progress > 0)
    worker.send_signal(signal.SIGTERM)
    queued = stand.wait(job, "queued")
    assert (queued.losses, queued.failures) == (0, 0)
    assert worker.wait(15) == 0
    assert stand.there() == set()


def test_processes_that_are_spawned_work_too(stand: Stand) -> None:
    stand.work(START="spawn")
    stand.wait(stand.ask(), "succeeded")


def test_sixty_jobs_are_done_once_each_while_a_worker_is_killed_every_five_seconds(stand: Stand) -> None:
    stand.keep()
    jobs = [stand.ask(f"owner{at % 3}", steps=4, seconds=0.2, count=2) for at in range(60)]

    workers = [stand.work(ready=False) for _ in range(2)]
    kills = 0
    while before := stand.left():
        with suppress(AssertionError):
            until(lambda: not stand.left(), within=5)
        # A slow machine needs longer to start workers, and cannot do it for ever.
        until(lambda before=before: stand.left() < before, what=stand.log())
        if kills < 15:
            kill(workers.pop(0))
            workers.append(stand.work(ready=False))
            kills += 1
    assert kills >= 3
    for job in jobs:
        done = stand.see(job)
        assert (done.state, done.failures) == ("succeeded", 0)
        assert stand.runs(job) <= 1 + done.losses
        assert delivered(stand, job.owner, job.id) == ["01.jpg", "02.jpg"]
        assert len(portraits_of(stand.ledger, job)) == 2
