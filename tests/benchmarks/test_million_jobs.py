"""Claims, pages of lists and the operators' pages beside a million jobs that have ended; docs/benchmarks.md."""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.plugin import Record
from tests.tasks import conftest
from tests.tasks.api.harness import ApiHarness, environment, open_api

pytestmark = pytest.mark.bench

# Servers and databases are those of the tests of jobs.
started, migrated = conftest.started, conftest.migrated

ENDED, WAITING, OWNERS = 1_000_000, 10_000, 1_000
CLAIM_GOAL, PAGE_GOAL = 0.010, 0.100
"""Seconds within which 95 of 100 claims, and 95 of 100 pages, shall be answered."""
ROUNDS = 200
ABILITIES = {"draw:studio", "draw:template", "prepare", "look"}

FILL = """
INSERT INTO jobs (id, owner, kind, queue, state, wants, needs, priority, units, preview, losses, failures, phase, progress,
  message, result, created, started, finished, seen, order_id)
SELECT {id}, 'owner' || mod(n / 13, {owners}), (ARRAY['generate', 'generate', 'generate', 'prepare'])[1 + mod(n, 4)], 'cpu',
  {state}, json_build_object('style', 'studio-warm', 'version', 1, 'count', 4,
    'people', json_build_object('1', 'person_' || mod(n / 13, {owners}))),
  (ARRAY['draw:studio', 'draw:template', 'draw:studio', 'prepare'])[1 + mod(n, 4)], 0, 4, 0, 0, 0, '', {progress},
  '', '{{}}', {created}, {started}, {finished}, {finished}, ''
FROM generate_series(1, {count}) AS n
"""
"""Rows of jobs, ids in the order of their ages."""
OWN = (
    "INSERT INTO owners (id, folded, created)"
    " SELECT 'owner' || n, 'owner' || n, {began} FROM generate_series(1, {owners}) AS n",
    "INSERT INTO people (id, owner, name, created, used)"
    " SELECT 'person_' || n, 'owner' || n, 'Ann', {began}, {now} FROM generate_series(0, {owners}) AS n",
    "INSERT INTO consents (id, owner, person, text_version, given_by, given)"
    " SELECT 'consent_' || n, 'owner' || n, 'person_' || n, '2026-12', 'Ann', {now} FROM generate_series(0, {owners}) AS n",
    "INSERT INTO turns SELECT 'owner' || n, 'cpu', {now} - n FROM generate_series(0, {owners} / 2) AS n",
)
OF_JOBS = (
    "INSERT INTO portraits (id, owner, job, file, format, bytes, number, width, height, style_version, style, likeness,"
    " scores, recipe, favourite, created, distance, title, rules_broken)"
    " SELECT 'portrait_' || substr(id, 5), owner, id, '01.jpg', 'jpg', 100000, 1, 768, 1024, 1, 'studio-warm',"
    """ '{"1": {"space": "dlib", "distance": 0.4}}', '{}', '{"seed": 1, "count": 4}', false, created, 0.4, '', 0"""
    " FROM jobs WHERE state = 'succeeded' AND kind = 'generate'",
    "INSERT INTO job_events (job, at, kind, state, data)"
    """ SELECT id, created, 'state', 'queued', '{"phase": "", "progress": 0}' FROM jobs""",
    "INSERT INTO job_people (job, person) SELECT id, replace(owner, 'owner', 'person_') FROM jobs",
)
ENDED_STATES = "(ARRAY['succeeded', 'succeeded', 'succeeded', 'succeeded', 'failed', 'cancelled'])[1 + mod(n / 4, 6)]"


@pytest.fixture(scope="module")
def full(migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiHarness]:
    """An API over a ledger with a million jobs that ended, each with two portraits or none, and ten thousand that wait."""
    database = conftest.create_database(migrated, "million", "migrated")
    home: Path = tmp_path_factory.mktemp("million")
    with open_api(environment(home, database=database)) as api:
        with api.context.ledger.database.write() as connection:
            for statement in filling(time.time()):
                connection.exec_driver_sql(statement)
        engine = api.context.ledger.database.engine
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
        yield api


def filling(now: float) -> Iterator[str]:
    """The statements that fill the ledger."""
    began = now - ENDED
    yield from (each.format(began=began, now=now, owners=OWNERS) for each in OWN)
    past = {"created": f"{began} + n", "started": f"{began} + n + 5", "finished": f"{began} + n + 20", "progress": 1}
    yield FILL.format(id="'job_1' || lpad(n::text, 12, '0')", state=ENDED_STATES, count=ENDED, owners=OWNERS, **past)
    waiting = {"created": f"{now} + n * 0.001", "started": "NULL", "finished": "NULL", "progress": 0}
    yield FILL.format(id="'job_2' || lpad(n::text, 12, '0')", state="'queued'", count=WAITING, owners=OWNERS, **waiting)
    yield from OF_JOBS


def measured(act: Callable[[], Any], rounds: int) -> list[float]:
    """Seconds of each of several calls, after one that nobody counts."""
    act()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - began)
    return seconds


def late(seconds: list[float]) -> float:
    """What 95 of 100 stay below."""
    return statistics.quantiles(seconds, n=20)[-1]


def test_a_claim_takes_ten_milliseconds(full: ApiHarness, figure: Record) -> None:
    ledger = full.context.ledger

    def claim() -> None:
        assert ledger.queue.claim("w", "cpu", ABILITIES, time.time(), 60) is not None

    seconds = late(measured(claim, ROUNDS))
    figure("Claim beside 10⁶ ended and 10⁴ waiting jobs, 95 of 100", seconds * 1000, "ms", at_most=CLAIM_GOAL * 1000)


PAGES = {
    "person": [
        "/jobs",
        "/jobs?limit=200",
        "/jobs?state=queued",
        "/jobs?state=failed&seen=false",
        "/jobs?kind=prepare",
        "/portraits?recipe=false",
        "/portraits?recipe=false&sort=likeness",
        "/portraits?recipe=false&limit=200",
        "/people",
        "/styles",
        "/me",
    ],
    "operator": [
        "/operator/jobs",
        "/operator/jobs?limit=200",
        "/operator/jobs?state=queued",
        "/operator/jobs?state=running",
        "/operator/jobs?state=failed",
        "/operator/jobs?kind=prepare",
        "/operator/jobs?owner=owner7",
        "/operator/queues",
        "/operator/workers",
        "/operator/figures",
        "/operator/styles",
        "/metrics",
    ],
}


@pytest.mark.parametrize(
    "path", [pytest.param((role, path), id=path) for role, paths in PAGES.items() for path in paths]
)
def test_a_page_takes_a_hundred_milliseconds(full: ApiHarness, figure: Record, path: tuple[Any, str]) -> None:
    role, address = path
    client = full.client("owner7", role)

    def ask() -> None:
        assert client.get(address).status_code == 200

    seconds = late(measured(ask, 20))
    figure(f"GET {address} beside 10⁶ jobs, 95 of 100", seconds * 1000, "ms", at_most=PAGE_GOAL * 1000)
