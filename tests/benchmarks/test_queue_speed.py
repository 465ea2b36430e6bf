"""How soon a job begins after it was asked for, and what a worker costs that waits; docs/benchmarks.md."""

import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.benchmarks.plugin import Record
from tests.tasks import conftest
from tests.tasks.stand import Stand

pytestmark = pytest.mark.bench

# Servers and databases are those of the tests of jobs.
started, numbers, database = conftest.started, conftest.numbers, conftest.database

ROUNDS = 100
"""Jobs asked for one after the other, each when the one before has ended."""
IDLE = 15.0
"""Seconds in which nobody asks for anything."""
DEFAULTS = {
    "PORTRAIT_TASKS__LEASE__SECONDS": "60",
    "PORTRAIT_TASKS__LEASE__HEARTBEAT": "10",
    "PORTRAIT_TASKS__KEEPER": "5",
}
"""What an installation has, not what tests have."""
GOALS = {"filesystem": 0.150, "redis": 0.050, "rabbitmq": 0.050}
"""Seconds within which 95 of 100 jobs shall begin; the filesystem's worker looks ten times a second."""
IDLE_GOAL = 0.02
"""Share of one core."""


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Lines that are printed at the end."""
    lines = [
        "| broker | database | asked → begun p50 ms | p95 ms | idle worker, % of a core |",
        "|---|---|---|---|---|",
    ]
    yield lines
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


@pytest.fixture(params=["filesystem", "redis", "rabbitmq"])
def installed(request: pytest.FixtureRequest, database: str, tmp_path: Path, numbers: Iterator[int]) -> Iterator[Stand]:
    """An installation on each broker and database."""
    settings = {"PORTRAIT_TASKS__DATABASE": database, **DEFAULTS, **conftest.broker_of(request, numbers)}
    yield from conftest.stand_at(tmp_path, settings)


def test_a_job_begins_at_once_and_waiting_costs_nothing(
    installed: Stand, table: list[str], request: pytest.FixtureRequest, figure: Record
) -> None:
    parameters = request.node.callspec.params
    broker, kind = parameters["installed"], parameters["database"]
    worker = installed.start_worker()
    installed.start_keeper()
    waits = [wait(installed) for _ in range(ROUNDS + 5)][5:]
    middle, late = statistics.median(waits), statistics.quantiles(waits, n=20)[-1]
    before = cpu_seconds(worker.pid)
    time.sleep(IDLE)
    idle = (cpu_seconds(worker.pid) - before) / IDLE
    table.append(f"| {broker} | {kind} | {middle * 1000:.0f} | {late * 1000:.0f} | {idle * 100:.1f} |")
    where = f"{broker}, {kind}"
    figure(f"A job begins after it was asked for, p95, {where}", late * 1000, "ms", at_most=GOALS[broker] * 1000)
    figure(f"A worker that waits, {where}", idle * 100, "% of a core", at_most=IDLE_GOAL * 100)


def wait(stand: Stand) -> float:
    """Seconds from asking until a worker has begun."""
    requested = time.time()
    job = stand.wait_for(stand.add_job(), "succeeded")
    time.sleep(0.03)  # the worker goes back to waiting
    return (job.started or 0) - requested


def cpu_seconds(group: int) -> float:
    """What the processes of a group have used of processors."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = process.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
