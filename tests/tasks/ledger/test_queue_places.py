"""Places in the queue, and claims, over many owners and priorities: what is told is what happens, in few statements."""

import random

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tasks.jobs import Job
from tasks.ledger.ledger import Ledger
from tests.tasks.stand import new_job

ABILITIES = {"draw:studio"}
FILL = """
INSERT INTO jobs (id, owner, kind, queue, state, wants, needs, priority, units, preview, losses, failures, phase, progress,
  message, result, created)
SELECT 'job_' || n, 'o' || mod(n, 40), 'generate', 'cpu', CASE WHEN n > 20000 THEN 'queued' ELSE 'succeeded' END, '{}',
  'draw:studio', 0, 1, 0, 0, 0, '', 0, '', '{}', n
FROM generate_series(1, 21000) AS n
"""
"""Twenty thousand jobs that have ended, and a thousand that wait."""


def add_jobs(ledger: Ledger, chance: random.Random, count: int, start: float, queue: str) -> list[Job]:
    """Jobs of five owners, some of a higher priority."""
    return [
        ledger.jobs.add(
            new_job(
                chance.choice(["ann", "bob", "cat", "dan", "eve"]),
                start + at,
                queue=queue,
                priority=chance.choice([0, 0, 0, 5, -5]),
            )
        )
        for at in range(count)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_places_are_the_order_of_claims(ledger: Ledger, seed: int) -> None:
    chance, queue = random.Random(seed), f"q{seed}"  # noqa: S311 -- the same each time
    add_jobs(ledger, chance, 6, 1.0, queue)
    for at in range(6):
        assert ledger.queue.claim("w", queue, ABILITIES, 10.0 + at, 1000) is not None
    added = add_jobs(ledger, chance, 20, 20.0, queue)
    listed = ledger.jobs.list_all(["queued"], limit=50).items
    found = ledger.jobs.queue_statuses(listed, 50.0)
    claimed = [ledger.queue.claim("w", queue, ABILITIES, 100.0 + at, 1000) for at in range(len(added))]
    assert [found[each.id].place for each in claimed if each is not None] == list(range(1, len(added) + 1))


def test_a_page_of_places_takes_as_many_statements_as_one(ledger: Ledger) -> None:
    added = add_jobs(ledger, random.Random(1), 30, 1.0, "cpu")  # noqa: S311 -- the same each time
    statements: list[str] = []
    event.listen(ledger.database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    counts = []
    for jobs in (added[:1], added):
        statements.clear()
        ledger.jobs.queue_statuses(jobs, 50.0)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 8


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_job_that_somebody_is_cancelling_is_passed_over(ledger: Ledger) -> None:
    first, second = (ledger.jobs.add(new_job("ann", float(at))) for at in (1, 2))
    table = sa.table("jobs", sa.column("id"))
    with ledger.database.engine.begin() as connection:
        connection.execute(sa.select(table).where(table.c.id == first.id).with_for_update())
        claimed = ledger.queue.claim("w", "cpu", ABILITIES, 5.0, 60)
    assert claimed is not None
    assert claimed.id == second.id


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_whose_turn_it_is_is_read_from_the_index_of_what_waits(ledger: Ledger) -> None:
    with ledger.database.write() as connection:
        connection.exec_driver_sql(FILL)
    with ledger.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE jobs")
        plan = connection.exec_driver_sql(
            "EXPLAIN SELECT owner, priority, min(created) FROM jobs WHERE queue = 'cpu' AND state = 'queued'"
            " AND needs IN ('draw:studio') GROUP BY owner, priority"
        ).scalars()
        assert "Index Only Scan using ix_jobs_waiting" in "\n".join(plan)
    claimed = ledger.queue.claim("w", "cpu", ABILITIES, 30000.0, 60)
    assert claimed is not None
    assert claimed.created == 20001
