"""Portraits delivered while their job runs: kept when it stops, not doubled when it runs again, gone with the person."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from portrait.errors import OperatorError
from tasks import erasing
from tasks.files import Files
from tasks.jobs import Job, LeaseLost, Limits
from tasks.ledger.ledger import Ledger
from tasks.ledger.pictures import PortraitFilter
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.rows import PortraitRow
from tasks.ledger.tables import portraits
from tasks.ledger.usage import Allowance
from tasks.queue import delivery
from tasks.queue.flows import JobContext
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests.tasks.early_flows import EarlyFlows
from tests.tasks.stand import new_job

At = Callable[[int, JobContext], object]


@pytest.fixture
def runner(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobRunner:
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))
    flows = EarlyFlows()
    lease = LeaseSettings(seconds=50, heartbeat=0.05)
    return JobRunner("w", ledger, Files(tmp_path / "data"), flows, lease, flows.abilities().words)


def add(runner: JobRunner, person: str = "", **params: int) -> Job:
    given = {"count": 4, **params}
    job = new_job(params=given, units=given["count"])
    return runner.ledger.jobs.add(job, [person] if person else [])


def run(runner: JobRunner, job: Job, at: At = lambda _, __: None) -> Job:
    assert replace(runner, flows=EarlyFlows(at)).run_next("cpu")
    return runner.ledger.jobs.get("ann", job.id)


def rows(runner: JobRunner, job: Job) -> list[PortraitRow]:
    """The portraits of a job by their numbers, each with its file."""
    found = runner.ledger.portraits.list("ann", PortraitFilter(job=job.id)).items
    for each in found:
        assert runner.files.portrait("ann", job.id, each.file).stat().st_size == each.bytes
    return sorted(found, key=lambda each: each.number)


def files(runner: JobRunner, job: Job) -> set[str]:
    folder = runner.files.portraits("ann", job.id)
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def used(runner: JobRunner) -> int:
    return runner.ledger.usage.today("ann", time.time())["portraits"].amount


def stop_at(runner: JobRunner, stop: int) -> At:
    def at(number: int, context: JobContext) -> None:
        if number == stop:
            runner.ledger.jobs.cancel("ann", context.job.id, time.time())
            time.sleep(0.3)

    return at


def lose_at(stop: int) -> At:
    def at(number: int, _: JobContext) -> None:
        if number == stop:
            raise LeaseLost("lease_lost", "The job was taken from this worker.")

    return at


def test_portraits_are_there_while_the_job_runs_and_ranked_at_its_end(runner: JobRunner) -> None:
    found: list[list[int]] = []
    counts: list[int] = []

    def at(_: int, context: JobContext) -> None:
        found.append([row.number for row in rows(runner, context.job)])
        counts.append(len(runner.ledger.jobs.queue_status(context.job, time.time()).portraits))

    job = run(runner, add(runner), at)
    assert found == [[], [1], [1, 2], [1, 2, 3]]
    assert counts == [0, 1, 2, 3]
    assert job.state == "succeeded", job.fault
    delivered = rows(runner, job)
    assert [row.id for row in delivered] == job.result["portraits"]
    assert [row.scores["total"] for row in delivered] == [0.03, 0.02, 0.01, 0.0], "the best has number 1"
    lists = runner.ledger.portraits
    assert [row.id for row in lists.list("ann").items] == job.result["portraits"], "and comes first in every list"
    pages = [lists.list("ann", limit=3)]
    pages.append(lists.list("ann", cursor=pages[0].next, limit=3))
    assert [row.id for page in pages for row in page.items] == job.result["portraits"]
    middle = lists.place("ann", delivered[1].id, PortraitFilter(), "newest")
    assert (middle.previous, middle.next, middle.place) == (delivered[0].id, delivered[2].id, 2)
    assert files(runner, job) == {row.file for row in delivered}
    assert (used(runner), runner.files.staging_folders()) == (4, [])


def test_those_that_were_replaced_go_with_their_files(runner: JobRunner) -> None:
    job = run(runner, add(runner, redrawn=2))
    delivered = rows(runner, job)
    assert [row.number for row in delivered] == [1, 2, 3, 4]
    assert [row.id for row in delivered] == job.result["portraits"]
    assert files(runner, job) == {row.file for row in delivered} == {"03.png", "04.png", "05.png", "06.png"}


def test_stopping_keeps_what_is_finished_and_no_more_is_charged(runner: JobRunner) -> None:
    job = run(runner, add(runner), stop_at(runner, 2))
    assert job.state == "cancelled"
    kept = rows(runner, job)
    assert [row.scores["total"] for row in kept] == [0.01, 0.0], "the best first"
    assert job.result == {"portraits": [row.id for row in kept]}
    assert (files(runner, job), used(runner)) == ({"01.png", "02.png"}, 2)
    nothing = run(runner, add(runner), stop_at(runner, 0))
    assert (nothing.state, nothing.result, rows(runner, nothing), used(runner)) == ("cancelled", {}, [], 2)


def test_what_was_stopped_and_is_tried_again_goes_on(runner: JobRunner) -> None:
    stopped = run(runner, add(runner), stop_at(runner, 2))
    before = rows(runner, stopped)
    runner.ledger.jobs.retry("ann", stopped.id, time.time(), Allowance(jobs=9, portraits_a_day=4))
    assert used(runner) == 4
    done = run(runner, stopped)
    delivered = rows(runner, done)
    assert done.state == "succeeded"
    assert {row.id for row in before} < {row.id for row in delivered}
    assert [row.number for row in delivered] == [1, 2, 3, 4]
    assert (files(runner, done), used(runner)) == ({"01.png", "02.png", "03.png", "04.png"}, 4)


def test_a_run_after_a_loss_doubles_nothing(runner: JobRunner) -> None:
    ledger, job = runner.ledger, add(runner)
    assert run(runner, job, lose_at(3)).state == "running"
    before = rows(runner, job)
    assert len(before) == 3
    orphan = runner.files.portrait("ann", job.id, "04.png")
    orphan.write_bytes(b"of a worker that was killed between the file and the row")
    [lost] = ledger.queue.requeue_expired(time.time() + 60, Limits())
    assert (lost.state, lost.losses) == ("queued", 1)
    done = run(runner, job)
    delivered = rows(runner, done)
    assert done.state == "succeeded"
    assert [row.id for row in delivered[1:]] == [row.id for row in reversed(before)]
    assert files(runner, done) == {row.file for row in delivered}
    assert used(runner) == 4


def test_a_lost_job_that_ends_keeps_its_portraits_and_nothing_else(runner: JobRunner) -> None:
    ledger, job = runner.ledger, add(runner)
    run(runner, job, lose_at(2))
    runner.files.portrait("ann", job.id, "03.png").write_bytes(b"left by a worker that was killed")
    assert delivery.sweep(ledger, runner.files, "ann", job.id) == 0, "not while somebody has it"
    ledger.jobs.cancel("ann", job.id, time.time())
    [ended] = ledger.queue.requeue_expired(time.time() + 60, Limits())
    assert (ended.state, len(ended.result["portraits"])) == ("cancelled", 2)
    assert delivery.sweep_all(ledger, runner.files, time.time()) == 1
    assert files(runner, job) == {row.file for row in rows(runner, job)} == {"01.png", "02.png"}


def test_a_failed_job_keeps_what_it_had_finished(runner: JobRunner) -> None:
    def fail(number: int, _: JobContext) -> None:
        if number == 1:
            raise OperatorError("missing_model", "A model is missing.")

    job = run(runner, add(runner), fail)
    assert (job.state, [row.id for row in rows(runner, job)]) == ("failed", job.result["portraits"])
    assert used(runner) == 1


def test_a_database_that_was_away_gives_the_job_back(runner: JobRunner) -> None:
    def away(number: int, _: JobContext) -> None:
        if number == 1:
            raise OperatorError("database_unreachable", "The database does not answer.")

    job = run(runner, add(runner), away)
    assert (job.state, job.losses, job.failures, job.fault) == ("queued", 0, 0, None)
    assert len(rows(runner, run(runner, job))) == 4


def test_nothing_is_delivered_of_somebody_who_withdrew(runner: JobRunner) -> None:
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id

    def withdraw(number: int, _: JobContext) -> None:
        if number == 2:
            runner.ledger.people.withdraw("ann", person, time.time())

    job = run(runner, add(runner, person), withdraw)
    assert job.state == "cancelled"
    assert len(rows(runner, job)) == 2, "what was delivered before stays, as after the end of a job"


def test_nothing_is_left_of_somebody_who_was_erased_meanwhile(runner: JobRunner) -> None:
    ledger = runner.ledger
    person = ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    job = add(runner, person)

    def erase(number: int, _: JobContext) -> None:
        if number == 2:
            begun = ledger.erasures.erase_person(Request("ann", time.time()), person)
            erasing.finish_erasure(ledger, runner.files, begun, time.time())

    assert replace(runner, flows=EarlyFlows(erase)).run_next("cpu")
    with ledger.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(portraits)) == 0
    assert files(runner, job) == set()
    assert runner.files.staging_folders() == []
