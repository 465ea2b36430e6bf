"""What nobody needs any more does not pile up: replaced training sets, progress of ended jobs, copies, half-written files."""

import itertools
import os
import threading
import time
from dataclasses import replace

import pytest

from tasks.jobs import DAY
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.privacy.journal import ErasureJournal
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import IdentityRow, TrainingSetRow
from tasks.ledger.upkeep.copies import copy_beside
from tasks.queue.retention import MOST_SECONDS, erase_replaced_sets
from tests.tasks.stand import Stand, new_job, wait_until


def judge(stand: Stand, person: str, number: int, at: float) -> None:
    """One look at a person's photos, which leaves a training set and an identity."""
    ledger, files = stand.ledger, stand.files
    ledger.jobs.add(new_job(created=at))
    job = ledger.queue.claim("w", "cpu", {"draw:studio"}, at, 3.0)
    assert job is not None
    ledger.queue.report(job, at, "looking", 0.5, "")
    row = TrainingSetRow(f"set_{number}", "ann", person, job.id, [], at)
    identity = IdentityRow(f"identity_{number}", "ann", person, row.id, at)
    files.save([b"x"], files.training_set("ann", person, row.id) / "set.json", 9)
    ledger.queue.finish(job, at, Outcome(training_set=row, identity=identity), lambda: None)


def test_a_purge_takes_what_later_sets_replaced_with_its_files_and_the_progress(stand: Stand) -> None:
    now = time.time()
    person = stand.ledger.people.add("ann", "Ann", "1", "Ann", now).id
    for number in range(4):
        judge(stand, person, number, now - 2 * DAY)
    judge(stand, person, 4, now - 1000)
    purged = stand.keeper.purge(now)
    assert (purged.training_sets, purged.events) == (3, 1), "the progress of older ones is what the first pass takes"
    assert sorted(path.name for path in stand.files.person("ann", person).glob("sets/*")) == ["set_3", "set_4"]
    assert [row.id for row in stand.ledger.people.training_sets("ann", person)] == ["set_4", "set_3"]
    assert all(row.done for row in stand.ledger.erasures.list("ann").items)
    assert stand.keeper.purge(now).training_sets == 0


def test_so_many_sets_that_it_takes_long_go_in_several_passes(stand: Stand) -> None:
    now = time.time()
    person = stand.ledger.people.add("ann", "Ann", "1", "Ann", now).id
    for number in range(5):
        judge(stand, person, number, now - 2 * DAY)
    ticks = itertools.count(0.0, MOST_SECONDS / 2)
    assert erase_replaced_sets(stand.ledger, stand.files, now, lambda: next(ticks)) == 1
    assert erase_replaced_sets(stand.ledger, stand.files, now) == 2


def test_copies_of_before_an_upgrade_go_after_days(stand: Stand) -> None:
    copy = copy_beside(stand.ledger.database, time.time())
    assert copy is not None
    stand.keeper.purge(time.time())
    assert copy.exists()
    os.utime(copy, (1, 1))
    stand.keeper.purge(time.time())
    assert not copy.exists()


@pytest.mark.parametrize(
    "place", ["incoming/picture_1", "owners/ann/jobs/job_1/.01.jpg.a1b2.part", "styles/published/x/.1.a1b2"]
)
def test_what_was_never_completed_goes_after_a_day(stand: Stand, place: str) -> None:
    path = stand.files.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    now = time.time()
    stand.keeper.purge(now + DAY / 2)
    assert path.exists()
    stand.keeper.purge(now + DAY + 60)
    assert not path.exists()


def test_the_loop_notes_every_erasure_and_thins_what_ended_while_no_keeper_ran(stand: Stand) -> None:
    ledger, place = stand.ledger, stand.home / "erasures.jsonl"
    people = [ledger.people.add("ann", name, "1", name, time.time()).id for name in ("Ann", "Bea")]
    judge(stand, people[1], 1, time.time() - 10 * DAY)
    job = ledger.jobs.list("ann").items[0]
    erased_before = ledger.erasures.erase_person(Request("ann", time.time() - 10 * DAY), people[0])
    opened = Ledger(ledger.database, ErasureJournal(place))
    keeper = replace(stand.keeper, ledger=opened, settings=replace(stand.keeper.settings, keeper=0.01))
    stop = threading.Event()
    running = threading.Thread(target=keeper.run, args=(stop,))
    running.start()
    try:
        wait_until(lambda: place.exists() and erased_before.id in place.read_text())
        later = ledger.erasures.erase_person(Request("ann", time.time()), people[1])  # on another machine
        wait_until(lambda: later.id in place.read_text())
    finally:
        stop.set()
        running.join()
    assert len(list(ErasureJournal(place).entries())) == 2
    assert job.state == "succeeded"


def test_the_progress_of_jobs_that_ended_long_ago_goes_with_the_first_pass(stand: Stand) -> None:
    ledger = stand.ledger
    person = ledger.people.add("ann", "Ann", "1", "Ann", time.time()).id
    judge(stand, person, 1, time.time() - 10 * DAY)
    job = ledger.jobs.list("ann").items[0]
    assert "progress" in {event.kind for event in ledger.jobs.events("ann", job.id, 0)}
    stand.start_keeper()
    wait_until(lambda: "progress" not in {event.kind for event in ledger.jobs.events("ann", job.id, 0)})
