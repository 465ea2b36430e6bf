"""Lines about a job name its request where others than its worker write them: the keeper, the thread of its heartbeats."""

import logging
import time
from collections.abc import Iterator

import pytest

from tasks.jobs import Job
from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger
from tasks.queue.runner import LeaseHeartbeat
from tasks.settings import LeaseSettings
from tasks.telemetry.correlation import Correlation
from tasks.telemetry.job_run import running
from tests.tasks.stand import Stand, new_job, wait_until


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """What is logged of the installation, with its ids."""
    found: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.addFilter(Correlation())
    handler.emit = found.append  # pyrefly: ignore[bad-assignment] -- a name apart
    root = logging.getLogger("portrait")
    root.addHandler(handler)
    yield found
    root.removeHandler(handler)


def claimed(stand: Stand) -> Job:
    """A job of a request that a worker has."""
    stand.ledger.jobs.add(new_job(request="request-1"))
    job = stand.ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 1)
    assert job is not None
    return job


def test_the_keeper_names_the_request_of_a_job_that_was_lost(stand: Stand, records: list[logging.LogRecord]) -> None:
    job = claimed(stand)
    stand.keeper.requeue(time.time() + 60)
    (line,) = [record for record in records if "was lost by its worker" in record.getMessage()]
    assert (line.__dict__["request"], line.__dict__["job"]) == ("request-1", job.id)


def test_the_thread_of_heartbeats_names_it_too(records: list[logging.LogRecord]) -> None:
    away = Ledger(Database("postgresql://portrait@127.0.0.1:9/portrait"))
    job, lease = new_job(request="request-2"), LeaseSettings(seconds=60, heartbeat=0.01)
    with running(job, "w", ()), LeaseHeartbeat(away, job, lease, time.time):
        wait_until(lambda: any("heartbeat" in record.getMessage() for record in records), 10)
    line = next(record for record in records if "heartbeat" in record.getMessage())
    assert (line.__dict__["request"], line.__dict__["job"]) == ("request-2", job.id)
    away.close()
