"""Events of progress, replaced training sets, and copies of before an upgrade do not pile up."""

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks.jobs import DAY, Job
from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import IdentityRow, PortraitRow, TrainingSetRow
from tasks.ledger.tables import job_events
from tasks.ledger.upkeep import events
from tasks.ledger.upkeep.copies import KEPT_SECONDS, copy_beside, remove_old_copies
from tasks.ledger.upkeep.events import thin_events
from tasks.ledger.upkeep.training_sets import erase_replaced_set, find_replaced_sets
from tests.tasks.stand import new_job

START = 1_000_000.0


def begin(ledger: Ledger, **params: object) -> Job:
    """A job that a worker has claimed."""
    ledger.jobs.add(new_job(created=START, params=params))
    job = ledger.queue.claim("w", "cpu", {"draw:studio"}, START, 1e6)
    assert job is not None
    return job


def progress(ledger: Ledger, job: Job, count: int) -> None:
    for number in range(count):
        ledger.queue.report(job, START + number, "drawing", (number + 1) / (count + 1), "")


def kinds(ledger: Ledger, job: Job) -> list[str]:
    with ledger.database.read() as connection:
        chosen = sa.select(job_events.c.kind).where(job_events.c.job == job.id).order_by(job_events.c.id)
        return list(connection.scalars(chosen))


def test_progress_of_a_job_goes_some_minutes_after_its_end(ledger: Ledger) -> None:
    ended, running = begin(ledger), begin(ledger)
    for job in (ended, running):
        progress(ledger, job, 5)
    ledger.queue.finish(ended, START + 10, Outcome(), lambda: None)
    before = kinds(ledger, ended)
    assert before.count("progress") == 5
    assert thin_events(ledger.database, START + 300) == 0, "a stream may yet go on where it was cut off"
    assert thin_events(ledger.database, START + 700, since=START + 11) == 0, "that was looked at before"
    assert thin_events(ledger.database, START + 700) == 5
    assert kinds(ledger, ended) == [kind for kind in before if kind == "state"]
    assert kinds(ledger, running).count("progress") == 5
    assert ledger.jobs.events("ann", ended.id, 0)[-1].state == "succeeded"


def test_more_jobs_than_are_taken_at_once(sqlite: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [begin(sqlite) for _ in range(5)]
    for job in jobs:
        progress(sqlite, job, 2)
        sqlite.queue.finish(job, START + 10, Outcome(), lambda: None)
    monkeypatch.setattr(events, "BATCH", 2)
    assert thin_events(sqlite.database, START + 700) == 10


def test_a_job_that_runs_for_hours_keeps_its_newest_events(ledger: Ledger) -> None:
    job = begin(ledger)
    with ledger.database.write() as connection:
        row = {"job": job.id, "at": START, "kind": "progress", "state": "running"}
        connection.execute(sa.insert(job_events), [{**row, "data": {"n": n}} for n in range(events.MOST_RUNNING + 30)])
    assert thin_events(ledger.database, START + 1) == 30
    kept = [each for each in ledger.jobs.events("ann", job.id, 0, 10_000) if each.kind == "progress"]
    assert [kept[0].data["n"], kept[-1].data["n"]] == [30, events.MOST_RUNNING + 29]
    assert thin_events(ledger.database, START + 1) == 0


def add_set(ledger: Ledger, person: str, number: int, base: str = "") -> TrainingSetRow:
    """A training set with the identity that is made of it."""
    job = begin(ledger)
    at = START + number
    row = TrainingSetRow(f"set_{number}", "ann", person, job.id, [], at)
    identity = IdentityRow(f"identity_{number}", "ann", person, row.id, at)
    ledger.queue.finish(job, at, Outcome(training_set=row, identity=identity), lambda: None)
    if base:
        learned = IdentityRow(f"learned_{number}", "ann", person, row.id, at, base)
        ledger.queue.finish(begin(ledger), at, Outcome(identity=learned), lambda: None)
    return row


def replaced(ledger: Ledger, now: float = START + 2 * DAY) -> list[str]:
    return [row.id for row in find_replaced_sets(ledger.database, now)]


def test_sets_that_later_ones_replaced_go_unless_something_refers_to_them(ledger: Ledger) -> None:
    ann, bea = (ledger.people.add("ann", name, "1", name, START).id for name in ("Ann", "Bea"))
    for number in range(1, 8):
        add_set(ledger, ann, number, base="sdxl" if number == 2 else "")
    for number in (11, 12):
        add_set(ledger, bea, number)
    drawn = begin(ledger, identities={"1": "identity_4"})
    ledger.jobs.add(new_job(created=START, params={"identities": {"1": "identity_3"}}), [ann])
    portrait = PortraitRow("p", "ann", drawn.id, 1, "01.jpg", "jpg", 9, 1, 1, "s", 1, {}, {}, {}, START)
    ledger.queue.finish(drawn, START, Outcome(portraits=[portrait]), lambda: None)
    with ledger.database.write() as connection:
        connection.execute(sa.text("INSERT INTO job_people VALUES (:job, :person)"), {"job": drawn.id, "person": ann})
    assert replaced(ledger, START + 100) == [], "those of today stay"
    assert replaced(ledger) == ["set_1", "set_5"], (
        "2 was learned from, 3 waits to be drawn, 4 was, 6 and 7 are the newest"
    )
    row = find_replaced_sets(ledger.database, START + 2 * DAY)[0]
    ledger.jobs.add(new_job(created=START, params={"identities": {"1": "identity_1"}}), [ann])
    assert erase_replaced_set(ledger.database, row, START) is None, "somebody has just ordered a portrait of it"
    row = find_replaced_sets(ledger.database, START + 2 * DAY)[0]
    erasure = erase_replaced_set(ledger.database, row, START)
    assert erasure is not None
    assert dict(erasure.ids) == {"training_sets": ["set_5"], "identities": ["identity_5"]}
    assert [target[0] for target in erasure.targets] == ["set", "identity"]
    assert replaced(ledger) == []
    assert len(ledger.people.training_sets("ann", ann)) == 6


def test_a_copy_is_whole_private_and_goes_after_some_days(filled: Database, tmp_path: Path) -> None:
    copy = copy_beside(filled, START)
    assert copy is not None
    assert copy.name.startswith("filled.db.")
    assert copy.stat().st_mode & 0o777 == 0o600
    same = Database(f"sqlite:///{copy}")
    with same.read() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM people")) == 2
    same.close()
    other = tmp_path / "filled.db.copy"
    other.write_bytes(b"x")
    os.utime(copy, (START, START))
    os.utime(other, (START, START))
    assert remove_old_copies(filled, START + KEPT_SECONDS - 1) == 0
    assert remove_old_copies(filled, START + KEPT_SECONDS + 1) == 1
    assert (copy.exists(), other.exists()) == (False, True)


def test_nothing_is_copied_of_a_database_without_tables(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new.db'}")
    assert copy_beside(database, START) is None
