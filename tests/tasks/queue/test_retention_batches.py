"""More is due at once than one batch holds."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tasks.jobs import DAY
from tasks.ledger.ledger import open_ledger
from tasks.queue.retention import MOST_SECONDS, erase_expired
from tests.tasks.conftest import stand_at
from tests.tasks.stand import Stand, empty_ledger, new_job

PEOPLE, JOBS = 130, 250
"""More than a batch of each kind."""


@cache
def full_ledger() -> bytes:
    """A SQLite ledger with more people and jobs that are due: to fill it takes longer than to erase all of it."""
    with TemporaryDirectory() as folder:
        place = Path(folder) / "ledger.db"
        place.write_bytes(empty_ledger())
        ledger = open_ledger(f"sqlite:///{place}")
        for at in range(PEOPLE):
            ledger.people.add("ann", f"Ann {at}", "1", "Ann", 0.0)
        for at in range(JOBS):
            job = ledger.jobs.add(new_job(created=float(at)))
            ledger.jobs.cancel(job.owner, job.id, float(at))
        ledger.close()
        return place.read_bytes()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Stand]:
    """An installation with these people and jobs."""
    (tmp_path / "ledger.db").write_bytes(full_ledger())
    yield from stand_at(tmp_path, {})


def test_all_that_is_due_is_erased_in_one_pass(full: Stand) -> None:
    kept = full.installation.tasks.retention_by_kind
    erased = erase_expired(full.ledger, full.files, kept, 31 * DAY)
    assert (erased.people, erased.jobs) == (PEOPLE, JOBS)
    assert full.ledger.people.list("ann").items == []
    assert full.ledger.jobs.list("ann").items == []


def test_a_pass_ends_when_its_time_is_over_and_the_next_goes_on(full: Stand) -> None:
    kept = full.installation.tasks.retention_by_kind

    def clock() -> Iterator[float]:
        yield from (0.0, MOST_SECONDS)

    erased = erase_expired(full.ledger, full.files, kept, 31 * DAY, clock().__next__)
    assert 0 < erased.people < PEOPLE
    assert 0 < erased.jobs < JOBS
    again = erase_expired(full.ledger, full.files, kept, 31 * DAY)
    assert (erased.people + again.people, erased.jobs + again.jobs) == (PEOPLE, JOBS)
