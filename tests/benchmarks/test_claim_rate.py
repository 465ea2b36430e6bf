"""Claims beside ten thousand, a hundred thousand and a million jobs that have ended; docs/scaling.md."""

import os
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.ledger.ledger import Ledger, open_ledger
from tests.benchmarks.plugin import Record
from tests.benchmarks.test_million_jobs import ABILITIES, ENDED_STATES, FILL, OWN, OWNERS, measured
from tests.tasks import conftest

pytestmark = pytest.mark.bench

# Servers and databases are those of the tests of jobs.
started, migrated = conftest.started, conftest.migrated

ENDED = (10_000, 100_000, 1_000_000)
WAITING = (100, 10_000)
ROUNDS, WORKERS = 90, 8
"""Claims that are timed one by one, fewer than wait; and who claim at the same time after that, where many wait."""
MOST = 2.0
"""How much more processor time a claim may take beside a million jobs than beside ten thousand, in one run."""


@pytest.fixture(scope="module")
def ledger(migrated: str) -> Iterator[Ledger]:
    """A ledger with owners and no jobs."""
    ledger = open_ledger(conftest.create_database(migrated, "claims", "migrated"))
    now = time.time()
    _write(ledger, *(each.format(began=now - ENDED[-1], now=now, owners=OWNERS) for each in OWN))
    yield ledger
    ledger.close()


def test_claims_take_the_same_time_however_many_jobs_have_ended(ledger: Ledger, figure: Record) -> None:
    lines = [
        "| jobs that ended | that wait | processor ms a claim | claim p50 ms | p95 ms | claims a second of 8 workers |",
        "|---|---|---|---|---|---|",
    ]
    used, waiting = {}, 0
    for before, ended in zip((0, *ENDED), ENDED, strict=False):
        _add(ledger, ENDED_STATES, before, ended)
        for waiting in WAITING:
            _write(ledger, "DELETE FROM jobs WHERE state IN ('queued', 'running')")
            _add(ledger, "'queued'", ENDED[-1], ENDED[-1] + waiting)
            ledger.database.engine.dispose()  # one connection from here on, whose process is asked
            before_claims = _processor_seconds(ledger)
            seconds = measured(lambda: _claim(ledger), ROUNDS)
            used[ended, waiting] = (_processor_seconds(ledger) - before_claims) / (ROUNDS + 1)
            late = statistics.quantiles(seconds, n=20)[-1]
            rate = f"{_rate(ledger):.0f}" if waiting > ROUNDS * 10 else ""
            times = f"{used[ended, waiting] * 1000:.1f} | {statistics.median(seconds) * 1000:.1f} | {late * 1000:.1f}"
            lines.append(f"| {ended:,} | {waiting:,} | {times} | {rate} |")
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    longer = used[ENDED[-1], waiting] / used[ENDED[0], waiting]
    figure("A claim beside 10⁶ jobs that ended over one beside 10⁴", longer, "×", at_most=MOST)


def _add(ledger: Ledger, state: str, first: int, last: int) -> None:
    """Add jobs of these numbers, and have PostgreSQL count anew what there is."""
    began = time.time() - ENDED[-1]
    past = state != "'queued'"
    times = (
        {"started": f"{began} + n + 5", "finished": f"{began} + n + 20"}
        if past
        else dict.fromkeys(("started", "finished"), "NULL")
    )
    numbers = {"id": f"'job_1' || lpad((n + {first})::text, 12, '0')", "count": last - first, "created": f"{began} + n"}
    _write(ledger, FILL.format(state=state, owners=OWNERS, progress=int(past), **numbers, **times))
    with ledger.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE jobs, waiting")


def _write(ledger: Ledger, *statements: str) -> None:
    with ledger.database.write() as connection:
        for each in statements:
            connection.exec_driver_sql(each)


def _claim(ledger: Ledger) -> None:
    assert ledger.queue.claim("w", "cpu", ABILITIES, time.time(), 600) is not None


def _processor_seconds(ledger: Ledger) -> float:
    """What this process and its connection's in PostgreSQL have used: it does not grow with what else a machine does."""
    with ledger.database.read() as connection:
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    fields = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rate(ledger: Ledger) -> float:
    """Claims a second of several workers at once."""
    count, began = 40 * WORKERS, time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(lambda _: _claim(ledger), range(count)):
            pass
    return count / (time.perf_counter() - began)
