"""Workers that are killed at every single step of delivering portraits, on SQLite and on PostgreSQL."""

import shutil
import time
from pathlib import Path

import pytest

from tasks.files import Files
from tasks.jobs import Job, Limits
from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.pictures import PortraitFilter
from tasks.ledger.rows import PortraitRow
from tasks.queue import delivery
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests.tasks.early_flows import EarlyFlows
from tests.tasks.privacy_story import Steps, forked
from tests.tasks.stand import new_job

COUNT, REDRAWN = 3, 1


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the fake flows note their runs, for as long as a test takes."""
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))


def work(url: str, home: Path, stop: int = -1) -> int:
    """Run the next job, killed at a step; returns how many steps there are. Heartbeats come too seldom to be among them."""
    ledger, flows = Ledger(Database(url)), EarlyFlows()
    lease = LeaseSettings(seconds=60, heartbeat=30)
    runner = JobRunner("w", ledger, Files(home / "data"), flows, lease, flows.abilities().words)
    with Steps(home, stop).watching(ledger) as steps:
        assert runner.run_next("cpu")
    ledger.close()
    return steps.count


def rows_and_files(ledger: Ledger, home: Path, job: Job) -> tuple[list[PortraitRow], set[str]]:
    """What there is of a job: its portraits by number, each with its whole file; and the names of all files."""
    files = Files(home / "data")
    rows = ledger.portraits.list("ann", PortraitFilter(job=job.id)).items
    for row in rows:
        assert files.portrait("ann", job.id, row.file).stat().st_size == row.bytes
    folder = files.portraits("ann", job.id)
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    return sorted(rows, key=lambda row: row.number), names


def kill_at(url: str, home: Path, stop: int) -> None:
    """A job whose worker is killed at a step; then it is stopped, or done by the next worker."""
    ledger = Ledger(Database(url))
    job = ledger.jobs.add(new_job(params={"count": COUNT, "redrawn": REDRAWN}, units=COUNT))
    ledger.close()
    assert not forked(lambda: work(url, home, stop)), f"step {stop}: it was killed"
    ledger = Ledger(Database(url))
    before, _ = rows_and_files(ledger, home, job)
    late = time.time() + 100
    if stop % 2 and ledger.jobs.get("ann", job.id).state == "running":
        ledger.jobs.cancel("ann", job.id, time.time())
    for lost in ledger.queue.requeue_expired(late, Limits()):
        assert lost.id == job.id
    if ledger.jobs.get("ann", job.id).state == "queued":
        work(url, home)
    delivery.sweep_all(ledger, Files(home / "data"), late)
    ended = ledger.jobs.get("ann", job.id)
    after, names = rows_and_files(ledger, home, job)
    assert names == {row.file for row in after}, f"step {stop}: a file without a row"
    assert [row.number for row in after] == list(range(1, len(after) + 1)), f"step {stop}"
    assert [row.id for row in after] == list(ended.result.get("portraits", [])), f"step {stop}"
    if ended.state == "succeeded":
        assert [row.recipe["candidate"] for row in after] == [3, 2, 1], f"step {stop}"
        kept = {row.id for row in before if row.recipe["candidate"]}
        assert kept <= {row.id for row in after}, f"step {stop}: what was there before has another id"
    else:
        assert (ended.state, {row.id for row in after}) == ("cancelled", {row.id for row in before}), f"step {stop}"
    ledger.close()
    shutil.rmtree(home / "data", ignore_errors=True)


def test_a_worker_killed_between_file_and_row_leaves_neither_in_the_end(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    open_ledger(url).close()
    placed = steps_of_a_run(url, tmp_path) // 2
    for stop in (placed, placed + 1):
        kill_at(url, tmp_path, stop)


@pytest.mark.chaos
def test_nothing_is_lost_doubled_or_left_whoever_dies_at_any_step(database: str, tmp_path: Path) -> None:
    open_ledger(database).close()
    for stop in range(1, steps_of_a_run(database, tmp_path) + 1):
        kill_at(database, tmp_path, stop)


def steps_of_a_run(url: str, home: Path) -> int:
    """How many steps a whole run has, but the first one of an installation, in which its keys for marks are made."""
    _count_steps(url, home)
    return _count_steps(url, home)


def _count_steps(url: str, home: Path) -> int:
    ledger = Ledger(Database(url))
    ledger.jobs.add(new_job(params={"count": COUNT, "redrawn": REDRAWN}, units=COUNT))
    ledger.close()
    count = work(url, home)
    assert count > 10
    shutil.rmtree(home / "data")
    return count
