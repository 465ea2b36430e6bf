"""What a request takes: threads and statements, however many rows there are."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from anyio._backends._asyncio import AsyncIOBackend
from limits import RateLimitItemPerMinute
from limits.strategies import SlidingWindowCounterRateLimiter
from sqlalchemy import event

from tasks.api.limits import Counts
from tests.tasks.api.harness import ApiHarness

READS_A_JOB, PLACES_A_JOB = 9, 22
"""Statements of a request, that which finds its key among them."""


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was handed to a thread."""
    handed: list[object] = []
    run = AsyncIOBackend.run_sync_in_worker_thread.__func__

    async def counted(cls: type, function: Any, *given: Any, **options: Any) -> Any:
        handed.append(function)
        return await run(cls, function, *given, **options)

    monkeypatch.setattr(AsyncIOBackend, "run_sync_in_worker_thread", classmethod(counted))
    return handed


@pytest.fixture
def statements(api: ApiHarness) -> Iterator[list[str]]:
    """The statements that the ledger was asked."""
    asked: list[str] = []

    def note(*given: Any) -> None:
        asked.append(given[2])

    event.listen(api.context.ledger.database.engine, "before_cursor_execute", note)
    yield asked
    event.remove(api.context.ledger.database.engine, "before_cursor_execute", note)


def test_a_request_takes_a_thread_for_its_key_and_one_for_its_work(api: ApiHarness, threads: list[object]) -> None:
    things, client, operator = api.one_of_each(), api.client(), api.client(role="operator")
    asking = [(client, "/jobs?limit=1"), (client, f"/jobs/{things.waiting}"), (client, "/portraits"), (client, "/me")]
    for caller, path in (*asking, (operator, "/operator/jobs")):
        assert caller.get(path).status_code == 200
        threads.clear()
        assert caller.get(path).status_code == 200
        assert len(threads) == 2, (path, threads)


def test_a_job_is_read_and_placed_in_few_statements(api: ApiHarness, statements: list[str]) -> None:
    things, client = api.one_of_each(), api.client()
    statements.clear()
    assert client.get(f"/jobs/{things.waiting}").status_code == 200
    assert len(statements) <= READS_A_JOB, "\n".join(statements)
    statements.clear()
    order = {"people": {"1": things.person}, "style": "studio-warm"}
    assert client.post("/generations", json=order).status_code == 202
    assert len(statements) <= PLACES_A_JOB, "\n".join(statements)


def test_people_portraits_and_photos_that_are_there_are_not_looked_for_among_all_rows(
    api: ApiHarness, statements: list[str]
) -> None:
    api.one_of_each()
    database = api.context.ledger.database
    for path in ("/people", "/portraits"):
        statements.clear()
        assert api.client().get(path).status_code == 200
        asked = [each for each in statements if "removed IS NULL" in each]
        assert asked
        with database.read() as connection:
            for each in asked:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {each}", ("x",) * each.count("?")).all()
                told = "\n".join(row[3] for row in plan)
                assert "_removed" not in told, told
                assert "SCAN portraits" not in told, told


def test_requests_that_are_counted_start_no_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Counts()
    time.sleep(0.05)  # until the library's first timer is over
    started: list[object] = []
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: (started.append(thread), start(thread))[1])
    limiter, item = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerMinute(100)
    for _ in range(10):
        assert limiter.hit(item, "ann")
        time.sleep(0.02)
    assert len(started) <= 1
    assert all(limiter.hit(item, "ann") for _ in range(90))
    assert not limiter.hit(item, "ann")
    storage.timer.cancel()
