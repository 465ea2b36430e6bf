"""Three hundred jobs on each broker and database while workers are killed at random: `make chaos`, docs/reliability.md."""

import random
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tasks.jobs import Job
from tests.tasks.conftest import broker_of, stand_at
from tests.tasks.stand import LEASE, Stand, kill, portraits_of, wait_until

pytestmark = pytest.mark.chaos

JOBS = 300
WORKERS = 3
HEAD = "| broker | database | jobs | kills | lost and taken back | runs beyond the first | wrong portraits | seconds |"


@dataclass
class Table:
    """What is printed at the end."""

    lines: list[str] = field(default_factory=lambda: [HEAD, "|---|---|---|---|---|---|---|---|"])


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    table = Table()
    yield table
    sys.stdout.write("\n" + "\n".join(table.lines) + "\n")


@pytest.fixture(params=["filesystem", "redis", "rabbitmq"])
def installed(request: pytest.FixtureRequest, database: str, tmp_path: Path, numbers: Iterator[int]) -> Iterator[Stand]:
    """An installation on each broker and database."""
    yield from stand_at(tmp_path, {"PORTRAIT_TASKS__DATABASE": database, **broker_of(request, numbers)})


def test_every_job_succeeds_once_while_workers_are_killed(
    installed: Stand, table: Table, request: pytest.FixtureRequest
) -> None:
    stand, dice = installed, random.Random(JOBS)  # noqa: S311 -- the same dice for each line of the table
    began = time.monotonic()
    stand.start_keeper()
    jobs = [
        stand.add_job(
            f"owner{at % 7}", steps=dice.randint(1, 5), seconds=dice.uniform(0.02, 0.15), count=dice.randint(1, 4)
        )
        for at in range(JOBS)
    ]
    kills = killing(stand, dice)
    seconds = time.monotonic() - began
    ended = [stand.get_job(job) for job in jobs]
    again = sum(max(0, stand.count_runs(job) - 1) for job in jobs)
    wrong = sum(wrong_portraits(stand, job) for job in jobs)
    losses = sum(job.losses for job in ended)
    database, broker = request.node.callspec.params["database"], request.node.callspec.params["installed"]
    table.lines.append(f"| {broker} | {database} | {JOBS} | {kills} | {losses} | {again} | {wrong} | {seconds:.0f} |")
    assert {job.state for job in ended} == {"succeeded"}
    assert wrong == 0
    assert again <= losses, "a run beyond the first has a loss as its reason"
    for worker in stand.workers:
        kill(worker)
    stand.keeper.purge(time.time() + 2 * LEASE)
    assert not stand.files.staging_folders(), "what killed workers had half done is swept away"


def killing(stand: Stand, dice: random.Random) -> int:
    """Kill any worker every few seconds until every job has ended; returns how many were killed."""
    workers = [stand.start_worker(ready=False) for _ in range(WORKERS)]
    kills = 0
    while before := stand.count_unfinished():
        with suppress(AssertionError):
            wait_until(lambda: not stand.count_unfinished(), within=dice.uniform(1, 6))
        wait_until(
            lambda before=before: stand.count_unfinished() < before, what=stand.log()
        )  # a slow machine needs longer to start workers
        kill(workers.pop(dice.randrange(len(workers))))
        workers.append(stand.start_worker(ready=False))
        kills += 1
        assert kills < JOBS, stand.log()
    return kills


def wrong_portraits(stand: Stand, job: Job) -> int:
    """Portraits that are missing or doubled, in the ledger and among the files."""
    wanted = [f"{number:02}.jpg" for number in range(1, int(job.params["count"]) + 1)]
    found = stand.files.names(stand.files.portraits(job.owner, job.id))
    rows = sorted(row.file for row in portraits_of(stand.ledger, job))
    return len(set(wanted) ^ set(found)) + len(set(wanted) ^ set(rows)) + len(rows) - len(set(rows))
