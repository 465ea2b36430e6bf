"""Who waits in a queue is kept as jobs are written, whatever happens to them and however many write at once."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from tasks.jobs import Limits
from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.migrations import revisions
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.queue import waiting
from tasks.ledger.tables import jobs
from tasks.ledger.upkeep.copying import copy_ledger
from tests.tasks.ledger.test_ledger import claim
from tests.tasks.stand import new_job

KEY = ("queue", "needs", "priority", "owner")
LIMITS = Limits(3, 3)


def kept(database: Database) -> set[tuple[object, ...]]:
    with database.read() as connection:
        return {tuple(row) for row in connection.execute(sa.select(waiting))}


def read(database: Database) -> set[tuple[object, ...]]:
    """What `waiting` is to hold, by reading every job."""
    lines: dict[tuple[object, ...], tuple[object, ...]] = {}
    chosen = sa.select(jobs).where(jobs.c.state == "queued").order_by(jobs.c.created, jobs.c.id)
    with database.read() as connection:
        for row in connection.execute(chosen):
            lines.setdefault(tuple(getattr(row, each) for each in KEY), (row.created, row.id))
    return {(*key, *first) for key, first in lines.items()}


def test_it_is_who_waits_whatever_happens(ledger: Ledger) -> None:
    ids = [ledger.jobs.add(replace(new_job("ann"), created=float(at))).id for at in (3, 1, 2)]
    bobs = ledger.jobs.add(replace(new_job("bob"), created=4.0, needs=frozenset({"prepare"})))
    assert kept(ledger.database) == read(ledger.database)
    assert len(kept(ledger.database)) == 2
    assert ledger.queue.oldest_waiting() == {"cpu": 1.0}
    acts: list[Callable[[], object]] = [
        lambda: ledger.queue.release(claim(ledger), 5.0),
        lambda: claim(ledger),
        lambda: ledger.queue.requeue_expired(1e9, LIMITS),
        lambda: ledger.queue.set_priority(ids[0], 7, 5.0),
        lambda: ledger.jobs.cancel("ann", ids[2], 5.0),
        lambda: ledger.queue.expire(6.0, 1.5),
        lambda: ledger.queue.prune(7.0),
        lambda: ledger.erasures.erase_owner(Request("bob", 8.0)),
        lambda: claim(ledger),
    ]
    for act in acts:
        act()
        assert kept(ledger.database) == read(ledger.database)
    assert kept(ledger.database) == set(), "nobody waits any more"
    assert bobs.id not in ids


def test_many_that_write_at_once_leave_it_right(ledger: Ledger) -> None:
    for at in range(24):
        ledger.jobs.add(replace(new_job(f"owner{at % 2}"), created=float(at)))
    url = ledger.database.engine.url.render_as_string(hide_password=False)

    def work(number: int) -> None:
        with_own = open_ledger(url)
        for at in range(6):
            with_own.queue.claim(f"w{number}", "cpu", {"draw:studio"}, 100.0, 60)
            with_own.jobs.add(replace(new_job(f"owner{at % 2}"), created=100.0 + at))
        with_own.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert kept(ledger.database) == read(ledger.database)
    assert sum(ledger.queue.count_waiting().values()) == 24


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_who_waited_before_is_read_and_copied(ledger: Ledger, new_database: Callable[[], str]) -> None:
    for at in (2, 1):
        ledger.jobs.add(replace(new_job(), created=float(at)))
    before = kept(ledger.database)
    _, script = revisions._alembic()
    step = script.get_revision("0019").module
    with ledger.database.write() as connection, Operations.context(MigrationContext.configure(connection)):
        step.downgrade()
        step.upgrade()
    assert kept(ledger.database) == before
    target = Database(new_database())
    copy_ledger(ledger.database, target)
    assert kept(target) == before
    claim(ledger)
    assert kept(ledger.database) == read(ledger.database)
    target.close()
