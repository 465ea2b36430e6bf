"""How many requests a second the task API answers, and how soon; docs/benchmarks.md."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks import auth
from tasks.ledger.database import new_id
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import IdentityRow, TrainingSetRow
from tests.benchmarks.plugin import Record
from tests.tasks import conftest, servers
from tests.tasks.stand import ROOT, Stand, new_job

pytestmark = pytest.mark.bench

# Servers and databases are those of the tests of jobs.
started, numbers, database, migrated = conftest.started, conftest.numbers, conftest.database, conftest.migrated

GATES = {"POST /v1/generations": (20, 250, 12), "GET /v1/jobs/ID": (80, 75, 4)}
"""Least requests a second, most milliseconds of 95 of 100, and most milliseconds of the API's CPU a request."""
MANY = {"PORTRAIT_TASKS__QUOTAS__JOBS": "1000000", "PORTRAIT_TASKS__QUOTAS__PORTRAITS_A_DAY": "1000000"}


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Lines that are printed at the end."""
    columns = ("request", "broker", "database", "requests a second", "p50 ms", "p95 ms", "CPU ms")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    yield lines
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


@pytest.fixture(params=["filesystem", "redis"])
def installed(request: pytest.FixtureRequest, database: str, tmp_path: Path, numbers: Iterator[int]) -> Iterator[Stand]:
    """An installation on either broker and either database."""
    settings = {"PORTRAIT_TASKS__DATABASE": database, **MANY, **conftest.broker_of(request, numbers)}
    yield from conftest.stand_at(tmp_path, settings)


def test_asking_and_looking(installed: Stand, table: list[str], request: pytest.FixtureRequest, figure: Record) -> None:
    parameters = request.node.callspec.params
    person = prepared(installed)
    key = auth.create_key(installed.ledger, "ann", "load", "person", time.time()).secret
    installed.start_worker()
    with served(installed) as (address, process):
        response = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.load", address, person, str(process)],
            cwd=ROOT,
            env={**os.environ, "KEY": key},
            capture_output=True,
            text=True,
        )
        assert response.returncode == 0, response.stderr + installed.log()
    where = f"{parameters['installed']}, {parameters['database']}"
    for what, took in json.loads(response.stdout).items():
        late = statistics.quantiles(took["each"], n=20)[-1]
        table.append(
            f"| {what} | {parameters['installed']} | {parameters['database']} | {len(took['each']) / took['all']:.0f} |"
            f" {statistics.median(took['each']) * 1000:.0f} | {late * 1000:.0f} | {took['cpu'] * 1000:.1f} |"
        )
        least, most, cpu = GATES[what]
        figure(f"{what}, {where}", len(took["each"]) / took["all"], "a second", at_least=least)
        figure(f"{what}, p95, {where}", late * 1000, "ms", at_most=most)
        figure(f"{what}, CPU of the API, {where}", took["cpu"] * 1000, "ms a request", at_most=cpu)


def prepared(stand: Stand) -> str:
    """A person whose photos were judged."""
    ledger, now = stand.ledger, time.time()
    person = ledger.people.add("ann", "Ann", "1", "Ann", now)
    job = ledger.jobs.add(new_job(kind="prepare", needs=frozenset({"prepare"}), params={"person": person.id}))
    claimed = ledger.queue.claim("w", "cpu", {"prepare"}, now, 60)
    assert claimed is not None
    made = TrainingSetRow(new_id("set", now), "ann", person.id, job.id, [], now)
    identity = IdentityRow(new_id("identity", now), "ann", person.id, made.id, now)
    ledger.queue.finish(claimed, now, Outcome(training_set=made, identity=identity), lambda: None)
    return person.id


@contextmanager
def served(stand: Stand) -> Iterator[tuple[str, int]]:
    """`portrait api` as an operator starts it; its address, and the id of its process."""
    port = servers.free_port()
    with (stand.home / "workers.log").open("ab") as log:
        command = [sys.executable, "-m", "app", "api", "--port", str(port)]
        api = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **stand.environment}, stdout=log, stderr=log)
    try:
        assert servers.accepts(port, within=30), stand.log()
        yield f"http://127.0.0.1:{port}", api.pid
    finally:
        api.terminate()
        api.wait(15)
