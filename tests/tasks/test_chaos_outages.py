"""Many jobs on whole installations while workers are killed, database and storage are away, and a clock is wrong.

The short form is part of `make test`; `make chaos` does 300 jobs on each, docs/reliability.md.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.jobs import Job
from tests.tasks import servers
from tests.tasks.conftest import broker_of_name, stand_at
from tests.tasks.stand import LEASE, ROOT, Stand, kill, portraits_of, wait_until
from tests.tasks.test_matrix import Table, wrong_portraits
from tests.tasks.wire import wire_to

WORKERS = 3
AHEAD = 90.0
"""Seconds by which the clock of one worker and one keeper is wrong."""
HEAD = "| installation | jobs | kills | outages | lost and taken back | runs beyond the first | wrong portraits | seconds |"
MANY_LOSSES = {"PORTRAIT_TASKS__LEASE__LOSSES": "100"}
"""No job is to be given up here because its workers were killed again and again."""
PLACES = ("sqlite-folder", "postgresql-redis-s3", "postgresql-rabbitmq-s3")


@dataclass
class Installed:
    """An installation of several processes, and what can be taken away from them."""

    stand: Stand
    settings: dict[str, str] = field(default_factory=dict)
    """What its processes have in place of what the test has: their wires can be cut."""
    skewed: bool = True
    """Whether clocks may be wrong: SQLite has no clock but that of whoever asks, and no second machine."""
    outages: list[Callable[[float], None]] = field(default_factory=list)
    """Each takes something away for so many seconds."""


@dataclass(frozen=True)
class Form:
    """How much is done, and how much goes wrong."""

    jobs: int
    seconds: float
    """Of one outage."""
    kills: int
    """At most."""


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    table = Table([HEAD, "|---|---|---|---|---|---|---|---|"])
    yield table
    sys.stdout.write("\n" + "\n".join(table.lines) + "\n")


@pytest.fixture(params=PLACES)
def installed(request: pytest.FixtureRequest, tmp_path: Path, numbers: Iterator[int]) -> Iterator[Installed]:
    with ExitStack() as stack:
        if request.param == "sqlite-folder":
            stand = stack.enter_context(contextmanager(stand_at)(tmp_path, MANY_LOSSES))
            outages: list[Callable[[float], None]] = [lambda seconds: lock(tmp_path / "ledger.db", seconds)]
            yield Installed(stand, {}, skewed=False, outages=outages)
            return
        started = request.getfixturevalue("started")
        database = request.getfixturevalue("new_database")()
        kept = servers.storage_settings(started("seaweedfs"), tmp_path.name)
        broker = broker_of_name(request.param.split("-")[1], started, numbers)
        more = {"PORTRAIT_TASKS__DATABASE": database, **kept, **broker, **MANY_LOSSES}
        stand = stack.enter_context(contextmanager(stand_at)(tmp_path, more))
        settings, outages = {}, []
        for name in ("PORTRAIT_TASKS__DATABASE", "PORTRAIT_TASKS__STORAGE__ENDPOINT"):
            before, _, port = more[name].rpartition(":")
            number, slash, rest = port.partition("/")
            wire = stack.enter_context(wire_to(int(number)))
            settings[name] = f"{before}:{wire.port}{slash}{rest}"
            outages.append(wire.outage)
        yield Installed(stand, settings, outages=outages)


@pytest.mark.chaos
def test_three_hundred_jobs_succeed_once_each_through_outages(
    installed: Installed, table: Table, request: pytest.FixtureRequest
) -> None:
    through_outages(installed, Form(300, 10.0, 300), table, request.node.callspec.params["installed"])


# Jobs of the third go through outages of its broker and database in test_chaos.py.
@pytest.mark.parametrize("installed", ["sqlite-folder", "postgresql-redis-s3"], indirect=True)
def test_jobs_succeed_once_each_through_outages(
    installed: Installed, table: Table, request: pytest.FixtureRequest
) -> None:
    through_outages(installed, Form(24, 4.0, 4), table, request.node.callspec.params["installed"])


def through_outages(installed: Installed, form: Form, table: Table, name: str) -> None:
    """Do jobs with two keepers, a kill every two seconds, and each outage twice."""
    stand, count = installed.stand, form.jobs
    dice = random.Random(count)  # noqa: S311 -- the same dice each time
    began = time.monotonic()
    jobs = [
        stand.add_job(
            f"owner{at % 7}", steps=dice.randint(1, 5), seconds=dice.uniform(0.02, 0.15), count=dice.randint(1, 4)
        )
        for at in range(count)
    ]
    wrong = skewed() if installed.skewed else {}
    with keeper(installed), keeper(installed, **wrong):
        kills, outages = killing(installed, dice, form)
    for worker in stand.workers:
        kill(worker)
    stand.keeper.purge(time.time() + 2 * LEASE)
    ended = [stand.get_job(job) for job in jobs]
    again = sum(max(0, stand.count_runs(job) - 1) for job in jobs)
    wrong = sum(wrong_portraits(stand, job) for job in jobs)
    losses = sum(job.losses for job in ended)
    took = time.monotonic() - began
    table.lines.append(f"| {name} | {count} | {kills} | {outages} | {losses} | {again} | {wrong} | {took:.0f} |")
    assert {(job.state, job.failures) for job in ended} == {("succeeded", 0)}, faults(ended)
    assert wrong == 0
    assert len({row.id for job in jobs for row in portraits_of(stand.ledger, job)}) == sum(
        int(job.params["count"]) for job in jobs
    )
    assert (kills, outages) >= (2, 2)


def killing(installed: Installed, dice: random.Random, form: Form) -> tuple[int, int]:
    """Kill a worker every two seconds and take something away in between, until every job has ended; how often of each."""
    stand, kills, taken = installed.stand, 0, []
    workers = [start(installed, dice) for _ in range(WORKERS)]
    left = installed.outages * 2
    while before := unfinished(stand):
        with suppress(AssertionError):
            wait_until(lambda: not unfinished(stand), within=2)
        if left and not any(each.is_alive() for each in taken):
            taken.append(threading.Thread(target=left.pop(0), args=(form.seconds,)))
            taken[-1].start()
        elif kills > 4 * WORKERS:  # a slow machine needs longer to start workers
            wait_until(lambda before=before: unfinished(stand) < before, 120, stand.log())
        if kills == form.kills:
            continue
        kill(workers.pop(dice.randrange(len(workers))))
        workers.append(start(installed, dice))
        kills += 1
    for each in taken:
        each.join()
    return kills, len(taken)


def start(installed: Installed, dice: random.Random) -> "subprocess.Popen[bytes]":
    """Start a worker; the clock of every third is wrong."""
    wrong = skewed() if installed.skewed and dice.random() < 1 / WORKERS else {}
    more: dict[str, Any] = {**installed.settings, **wrong}
    return installed.stand.start_worker(ready=False, **more)


@contextmanager
def keeper(installed: Installed, **more: str) -> Iterator[None]:
    """A keeper in a process of its own."""
    stand = installed.stand
    before = keepers(stand)
    environment = {**os.environ, **stand.environment, **installed.settings, **more}
    with (stand.home / "workers.log").open("ab") as log:
        command = [sys.executable, "-m", "app", "keeper"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: keepers(stand) > before or process.poll() is not None, what=stand.log())
        yield
        assert process.poll() is None, stand.log()
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        kill(process)


def keepers(stand: Stand) -> int:
    """How many keepers have made a pass."""
    return len(stand.ledger.workers.list_keepers(stand.ledger.now()))


def skewed() -> dict[str, str]:
    """The environment of a process whose clock is wrong."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    servers.need("faketime", bool(found), "apt-get install faketime")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME": f"+{AHEAD:g}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "PYTHONPATH": str(Path(__file__).parent / "skewed"),
    }


def lock(ledger: Path, seconds: float) -> None:
    """Hold SQLite's lock for so long: nobody writes."""
    with closing(sqlite3.connect(ledger, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")


def unfinished(stand: Stand) -> int:
    """How many jobs have not ended."""
    return stand.count_unfinished()


def faults(jobs: list[Job]) -> list[object]:
    """What is wrong with those that did not succeed."""
    return [
        (job.state, job.failures, job.losses, job.fault) for job in jobs if job.state != "succeeded" or job.failures
    ]
