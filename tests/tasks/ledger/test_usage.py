"""What owners used within a day: orders, trainings and the time of workers."""

from dataclasses import replace

import pytest

from portrait.errors import UserError
from tasks.jobs import DAY, Fault, Job, Limits
from tasks.ledger.ledger import Ledger
from tasks.ledger.queue import Outcome
from tasks.ledger.usage import Allowance, Kind
from tests.tasks.api.harness import run_concurrently
from tests.tasks.stand import new_job

PLENTY = Allowance(jobs=100, portraits_a_day=100)


def used(ledger: Ledger, kind: Kind, now: float = 100.0) -> int:
    return ledger.usage.today("ann", now)[kind].amount


def order(ledger: Ledger, job: Job, allowance: Allowance = PLENTY) -> Job:
    return ledger.jobs.add(job, (), allowance)


def claim(ledger: Ledger, now: float, kind: str = "draw:studio") -> Job:
    claimed = ledger.queue.claim("w", "cpu", {kind}, now, 60)
    assert claimed is not None
    return claimed


def training(steps: int = 800) -> Job:
    return replace(new_job(), kind="train", units=steps, created=100.0)


def drawing(portraits: int = 1) -> Job:
    return replace(new_job(), units=portraits, created=100.0)


def code(ledger: Ledger, job: Job, allowance: Allowance) -> str:
    with pytest.raises(UserError) as caught:
        order(ledger, job, allowance)
    assert caught.value.code == "quota_jobs" or 0 < caught.value.details["retry_after"] <= DAY
    return caught.value.code


def test_trainings_and_their_steps(sqlite: Ledger) -> None:
    few = replace(PLENTY, trainings_a_day=2, training_steps_a_day=2000)
    order(sqlite, training(), few)
    assert code(sqlite, training(1201), few) == "quota_trainings"
    order(sqlite, training(1200), few)
    assert code(sqlite, training(1), few) == "quota_trainings"
    order(sqlite, drawing(), few)
    assert used(sqlite, "training_steps") == 2000
    order(sqlite, replace(training(), created=100.0 + DAY + 1), few)


def test_the_time_of_workers_counts_however_a_job_ends(sqlite: Ledger) -> None:
    few = replace(PLENTY, worker_seconds_a_day=100)
    order(sqlite, drawing(), few)
    lost = claim(sqlite, 200.0)
    sqlite.queue.release(lost, 240.0)
    assert used(sqlite, "worker_seconds", 240.0) == 40
    failing = claim(sqlite, 250.0)
    sqlite.queue.retry_or_fail(failing, 260.0, Fault("EngineError", "x", "x"), Limits(failures=1))
    assert (used(sqlite, "worker_seconds", 260.0), used(sqlite, "portraits", 260.0)) == (50, 0)
    running = order(sqlite, replace(drawing(), created=260.0), few)
    claimed = claim(sqlite, 270.0)
    assert code(sqlite, replace(drawing(), created=320.0), few) == "quota_compute"
    sqlite.queue.finish(claimed, 320.0, Outcome(), lambda: None)
    assert (used(sqlite, "worker_seconds", 320.0), used(sqlite, "portraits", 320.0)) == (100, 1)
    assert code(sqlite, replace(drawing(), created=321.0), few) == "quota_compute"
    order(sqlite, replace(drawing(), created=320.0 + DAY), few)
    assert running.id == claimed.id


def test_what_ended_badly_is_given_back_and_counts_again_when_tried_again(sqlite: Ledger) -> None:
    few = replace(PLENTY, portraits_a_day=4)
    first = order(sqlite, drawing(3), few)
    assert code(sqlite, drawing(2), few) == "quota_portraits"
    sqlite.jobs.cancel("ann", first.id, 110.0)
    assert used(sqlite, "portraits") == 0
    second = order(sqlite, drawing(2), few)
    with pytest.raises(UserError, match="2 are left"):
        sqlite.jobs.retry("ann", first.id, 120.0, few)
    sqlite.jobs.cancel("ann", second.id, 130.0)
    sqlite.jobs.retry("ann", first.id, 140.0, few)
    assert used(sqlite, "portraits", 140.0) == 3
    sqlite.queue.expire(500.0, 400.0)
    assert used(sqlite, "portraits", 500.0) == 0


def test_only_the_last_day_is_kept(sqlite: Ledger) -> None:
    order(sqlite, drawing(3))
    assert sqlite.usage.prune(99.0) == 0
    assert used(sqlite, "portraits", 99.0 + DAY) == 3
    assert used(sqlite, "portraits", 101.0 + DAY) == 0
    assert sqlite.usage.prune(101.0) == 2


def test_uploads_at_once_share_what_is_left_of_the_day(ledger: Ledger) -> None:
    def begin(_: int) -> int | None:
        try:
            return ledger.usage.begin_upload("ann", 30, 100, 100.0)
        except UserError:
            return None

    begun = [charge for charge in run_concurrently(10, begin) if charge is not None]
    assert len(begun) == 3
    ledger.usage.end_upload(begun[0], 10)
    assert used(ledger, "upload_bytes") == 70
    assert ledger.usage.begin_upload("ann", 0, 100, 100.0), "a body of unknown length, as there is something left"
    assert ledger.usage.begin_upload("bob", 100, 100, 100.0)
