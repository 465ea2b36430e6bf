"""Real worker processes, killed, frozen, doubled and starved; leases of five seconds."""

import os
import signal
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tasks.queue import broker
from tests.tasks import servers
from tests.tasks.conftest import stand_at
from tests.tasks.stand import Stand, kill, portraits_of, wait_until


def delivered(stand: Stand, owner: str, job: str) -> list[str]:
    return stand.files.names(stand.files.portraits(owner, job))


def nothing_staged(stand: Stand) -> None:
    """Wait until no worker has anything half done: a worker settles a job first and then clears its table."""
    wait_until(lambda: not stand.files.staging_folders())


def test_killed_in_mid_job_it_finishes_once(any_stand: Stand) -> None:
    stand = any_stand
    first = stand.start_worker()
    job = stand.add_job(steps=20, seconds=0.1, count=4)
    wait_until(lambda: stand.get_job(job).progress > 0)
    kill(first)
    stand.start_keeper()
    stand.start_worker()
    done = stand.wait_for(job, "succeeded", "failed")
    assert (done.state, done.losses, done.failures) == ("succeeded", 1, 0)
    assert stand.count_runs(job) == 2
    assert delivered(stand, "ann", job.id) == ["01.jpg", "02.jpg", "03.jpg", "04.jpg"]
    assert len(portraits_of(stand.ledger, job)) == 4


def test_five_rings_are_one_run(any_stand: Stand) -> None:
    stand = any_stand
    job = stand.add_job(notify=False, steps=3, seconds=0.1)
    for _ in range(5):
        assert broker.notify(stand.app, "cpu")
    stand.start_worker(PROCESSES="2")
    stand.wait_for(job, "succeeded")
    wait_until(lambda: broker.pending_messages(stand.app, "cpu") == 0)
    time.sleep(0.3)
    assert stand.count_runs(job) == 1


def test_one_ring_is_enough_for_many_jobs(any_stand: Stand) -> None:
    stand = any_stand
    jobs = [stand.add_job(f"owner{at % 2}", notify=False) for at in range(6)]
    stand.start_worker()
    broker.notify(stand.app, "cpu")
    for job in jobs:
        stand.wait_for(job, "succeeded")
    assert [stand.count_runs(job) for job in jobs] == [1] * 6


def test_rings_that_were_lost_are_made_up_for(stand: Stand) -> None:
    job = stand.add_job(notify=False)
    stand.start_worker()
    stand.start_keeper()
    stand.wait_for(job, "succeeded")


def test_redis_that_was_restarted_loses_nothing(tmp_path: Path) -> None:
    port = servers.free_port()
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        url = first.enter_context(servers.redis(port))
        stand = stack.enter_context(contextmanager(stand_at)(tmp_path, {"PORTRAIT_TASKS__BROKER": f"{url}/0"}))
        stand.start_worker()
        stand.wait_for(stand.add_job(), "succeeded")
        rung = [stand.add_job(steps=5, seconds=0.1) for _ in range(3)]
        first.close()
        pending = stand.add_job()
        stand.start_keeper()
        stack.enter_context(servers.redis(port))
        for job in (*rung, pending):
            stand.wait_for(job, "succeeded")
        assert [stand.count_runs(job) for job in (*rung, pending)] == [1] * 4


def test_rabbitmq_that_was_restarted_loses_nothing(tmp_path: Path) -> None:
    port, folder = servers.free_port(), tmp_path / "rabbitmq"
    folder.mkdir()
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        url = first.enter_context(servers.rabbitmq(port, folder))
        stand = stack.enter_context(contextmanager(stand_at)(tmp_path, {"PORTRAIT_TASKS__BROKER": url}))
        rung = [stand.add_job() for _ in range(3)]
        first.close()
        pending = stand.add_job()
        stack.enter_context(servers.rabbitmq(port, folder))
        assert broker.pending_messages(stand.app, "cpu") == 3, "it keeps rings on its disk"
        stand.start_worker()
        for job in (*rung, pending):
            stand.wait_for(job, "succeeded")
        assert [stand.count_runs(job) for job in (*rung, pending)] == [1] * 4


def test_postgresql_that_was_restarted_loses_nothing(tmp_path: Path) -> None:
    port = servers.free_port()
    with ExitStack() as stack:
        home = stack.enter_context(servers.folder("postgresql"))
        first = stack.enter_context(ExitStack())
        url = first.enter_context(servers.postgresql(port, home))
        settings = {"PORTRAIT_TASKS__DATABASE": f"{url}/postgres"}
        stand = stack.enter_context(contextmanager(stand_at)(tmp_path, settings))
        stand.start_worker()
        stand.start_keeper()
        jobs = [stand.add_job(steps=5, seconds=0.2) for _ in range(3)]
        wait_until(lambda: stand.get_job(jobs[0]).progress > 0)
        first.close()
        time.sleep(1)
        stack.enter_context(servers.postgresql(port, home))
        for job in jobs:
            done = stand.wait_for(job, "succeeded", "failed")
            assert (done.state, done.failures) == ("succeeded", 0)
            assert stand.count_runs(job) <= 1 + done.losses
            assert delivered(stand, "ann", job.id) == ["01.jpg"]


def test_a_worker_that_wakes_too_late_writes_nothing(stand: Stand) -> None:
    slow = stand.start_worker()
    job = stand.add_job(steps=30, seconds=0.1, count=2)
    wait_until(lambda: stand.get_job(job).progress > 0)
    os.killpg(slow.pid, signal.SIGSTOP)
    stand.start_keeper()
    stand.start_worker()
    wait_until(lambda: stand.count_runs(job) == 2, what="nobody took it over")
    os.killpg(slow.pid, signal.SIGCONT)
    done = stand.wait_for(job, "succeeded", "failed")
    assert (done.state, done.losses) == ("succeeded", 1)
    wait_until(lambda: "was taken from this worker" in stand.log())
    assert delivered(stand, "ann", job.id) == ["01.jpg", "02.jpg"]
    nothing_staged(stand)


def test_cancel_while_queued_and_while_running(stand: Stand) -> None:
    waiting = stand.add_job(notify=False)
    assert stand.ledger.jobs.cancel("ann", waiting.id, time.time()).state == "cancelled"
    stand.start_worker()
    running = stand.add_job(steps=100, seconds=0.2)
    wait_until(lambda: stand.get_job(running).progress > 0)
    assert stand.ledger.jobs.cancel("ann", running.id, time.time()).state == "cancelling"
    done = stand.wait_for(running, "cancelled")
    assert (done.finished or 0) - (done.started or 0) < 100 * 0.2, "it stopped between two steps"
    assert stand.count_runs(waiting) == 0
    assert delivered(stand, "ann", running.id) == []
    nothing_staged(stand)
    assert stand.wait_for(stand.add_job(), "succeeded")


def test_a_full_disk_fails_that_job_alone(stand: Stand) -> None:
    limit = 4_000_000
    stand.start_worker(LIMIT=str(limit))
    large, small = stand.add_job(bytes=2 * limit), stand.add_job(bytes=1000)
    failed = stand.wait_for(large, "succeeded", "failed")
    assert failed.state == "failed"
    assert failed.fault is not None
    assert failed.fault.code == "disk_full"
    stand.wait_for(small, "succeeded")
    assert delivered(stand, "ann", large.id) == []
    nothing_staged(stand)
    assert delivered(stand, "ann", small.id) == ["01.jpg"]


def test_a_stopping_worker_gives_the_job_back_when_its_grace_is_over(stand: Stand) -> None:
    worker = stand.start_worker(PORTRAIT_TASKS__WORKERS__GRACE="1")
    job = stand.add_job(steps=100, seconds=0.1)
    wait_until(lambda: stand.get_job(job).progress > 0)
    worker.send_signal(signal.SIGTERM)
    queued = stand.wait_for(job, "queued")
    assert (queued.losses, queued.failures) == (0, 0)
    assert worker.wait(15) == 0
    assert stand.worker_ids() == set()


def test_forty_jobs_are_done_once_each_while_a_worker_is_killed_every_five_seconds(stand: Stand) -> None:
    stand.start_keeper()
    jobs = [stand.add_job(f"owner{at % 3}", steps=4, seconds=0.2, count=2) for at in range(40)]

    workers = [stand.start_worker(ready=False) for _ in range(2)]
    kills = 0
    while before := stand.count_unfinished():
        with suppress(AssertionError):
            wait_until(lambda: not stand.count_unfinished(), within=5)
        # A slow machine needs longer to start workers, and cannot do it for ever.
        wait_until(lambda before=before: stand.count_unfinished() < before, what=stand.log())
        if kills < 15:
            kill(workers.pop(0))
            workers.append(stand.start_worker(ready=False))
            kills += 1
    assert kills >= 3
    for job in jobs:
        done = stand.get_job(job)
        assert (done.state, done.failures) == ("succeeded", 0)
        assert stand.count_runs(job) <= 1 + done.losses
        assert delivered(stand, job.owner, job.id) == ["01.jpg", "02.jpg"]
        assert len(portraits_of(stand.ledger, job)) == 2
