"""The clock of all machines: the database's, on PostgreSQL; this machine's on SQLite."""

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from portrait.errors import OperatorError
from tasks.jobs import LEASED, Limits
from tasks.ledger.database import READ_AGAIN, Database, DatabaseClock
from tasks.ledger.ledger import Ledger
from tests.tasks.stand import new_job

BEHIND = 90.0


@dataclass
class Steady:
    """A steady clock that the test sets."""

    at: float = 100.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Away:
    """A database that does not answer."""

    there: Database
    sqlite: bool = False
    away: bool = False
    asked: int = 0

    def read(self) -> AbstractContextManager[sa.Connection]:
        self.asked += 1
        if self.away:
            raise OperatorError("database_unreachable", "The database does not answer.")
        return self.there.read()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_machine_whose_clock_is_behind_counts_by_the_databases(ledger: Ledger) -> None:
    late = DatabaseClock(ledger.database, wall=lambda: time.time() - BEHIND)
    assert abs(late() - time.time()) < 5
    assert abs(late.skew() + BEHIND) < 5


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_worker_whose_clock_is_behind_keeps_its_job(ledger: Ledger) -> None:
    late = DatabaseClock(ledger.database, wall=lambda: time.time() - BEHIND)
    ledger.jobs.add(new_job(created=late()), [])
    job = ledger.queue.claim("w", "cpu", {"draw:studio"}, late(), lease=60)
    assert job is not None
    assert ledger.queue.requeue_expired(ledger.now(), Limits()) == []
    assert ledger.jobs.get_any(job.id).state in LEASED
    assert ledger.queue.requeue_expired(ledger.now() + 61, Limits()) != []


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_between_two_looks_the_steady_clock_counts_on(ledger: Ledger) -> None:
    steady, there = Steady(), Away(ledger.database)
    clock = DatabaseClock(there, steady=steady)  # pyrefly: ignore[bad-argument-type] -- what the clock takes of a database
    first = clock()
    steady.at += 10
    assert clock() == pytest.approx(first + 10, abs=1e-3)
    assert there.asked == 1
    steady.at += READ_AGAIN
    assert abs(clock() - time.time()) < 5
    assert there.asked == 2
    there.away = True
    steady.at += READ_AGAIN + 1
    assert abs(clock() - time.time() - READ_AGAIN - 1) < 5, "what was known goes on while the database is away"


def test_a_clock_that_was_never_read_says_that_the_database_is_away(sqlite: Ledger) -> None:
    clock = DatabaseClock(Away(sqlite.database, away=True))  # pyrefly: ignore[bad-argument-type] -- what the clock takes of a database
    with pytest.raises(OperatorError) as raised:
        clock()
    assert raised.value.code == "database_unreachable"


def test_on_sqlite_it_is_the_machines_own(sqlite: Ledger) -> None:
    assert DatabaseClock(sqlite.database, wall=lambda: 12.5)() == 12.5
    assert DatabaseClock(sqlite.database, wall=lambda: 12.5).skew() == 0
