"""Events by month and the archive of jobs, by the statements of docs/scaling.md as they are printed, on PostgreSQL."""

import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tasks.jobs import DAY
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.tables import metadata
from tasks.ledger.upkeep.checks import check_ledger
from tasks.ledger.upkeep.copying import copy_ledger
from tasks.ledger.upkeep.events import thin_events
from tasks.ledger.upkeep.tables import NOT_ROWS
from tests.tasks.api.harness import ApiHarness, environment, open_api
from tests.tasks.conftest import create_database
from tests.tasks.stand import ROOT, new_job

pytestmark = pytest.mark.services

PARTITIONED, MONTHLY, ARCHIVED = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "scaling.md").read_text(), re.S)
OLD = 100 * DAY
"""Seconds since the oldest jobs."""


@pytest.fixture
def url(migrated: str) -> str:
    """A database of the present schema."""
    return create_database(migrated, f"p{secrets.token_hex(6)}", "migrated")


@pytest.fixture
def api(url: str, tmp_path: Path) -> Iterator[ApiHarness]:
    with open_api(environment(tmp_path, database=url)) as api:
        yield api


def run(url: str, statements: str) -> None:
    """Give them to psql, as they are printed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))
    command = [str(programs[-1]), "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", url]
    done = subprocess.run(command, input=statements, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def partitions(url: str) -> dict[str, int]:
    """The tables of events that hold some, with how many."""
    with psycopg.connect(url) as connection:
        counted = connection.execute("SELECT tableoid::regclass::text, count(*) FROM job_events GROUP BY 1").fetchall()
    return dict(counted)


def ended(ledger: Ledger, now: float, owner: str = "ann") -> str:
    """A job that was asked for then and cancelled at once."""
    job = ledger.jobs.add(new_job(owner, created=now))
    return ledger.jobs.cancel(job.owner, job.id, now).id


def test_jobs_go_on_where_events_lie_in_months(api: ApiHarness, url: str) -> None:
    ledger, now = api.context.ledger, time.time()
    before = ended(ledger, now - OLD)
    run(url, PARTITIONED)
    month = f"history.job_events_{time.strftime('%Y_%m', time.gmtime(now))}"
    assert partitions(url)["history.job_events_other"] == 2, "what was there before is there"
    job = ledger.jobs.add(new_job(created=now))
    claimed = ledger.queue.claim("w", "cpu", {"draw:studio"}, now, 60)
    assert claimed is not None
    ledger.queue.report(claimed, now, "drawing", 0.5, "half")
    ledger.queue.release(claimed, now)
    ledger.jobs.cancel(job.owner, job.id, now)
    events = ledger.jobs.events(job.owner, job.id)
    assert [event.state for event in events] == ["queued", "running", "running", "queued", "cancelled"]
    numbers = [event.id for event in events]
    assert numbers == sorted(numbers)
    assert numbers[0] > max(event.id for event in ledger.jobs.events("ann", before)), "no number is used again"
    assert partitions(url)[month] == 5
    assert ledger.database.rewrite(), "tables are written anew after erasures"
    thin_events(ledger.database, now + 3600)
    assert partitions(url)[month] == 4, "progress is gone"
    ledger.queue.prune(now + 1)
    assert partitions(url) == {}, "events go with their job, in whatever table they lie"


def test_a_backup_and_a_copy_see_one_table_of_events(api: ApiHarness, url: str, migrated: str) -> None:
    run(url, PARTITIONED)
    run(url, ARCHIVED)
    ledger, now = api.context.ledger, time.time()
    known = ended(ledger, now)
    checked = check_ledger(ledger.database)
    assert checked.sound
    assert set(checked.rows) == set(metadata.tables) - set(NOT_ROWS)
    assert checked.rows["job_events"] == 2
    target = open_ledger(create_database(migrated, f"p{secrets.token_hex(6)}", "migrated"))
    copy_ledger(ledger.database, target.database)
    assert len(target.jobs.events("ann", known)) == 2
    later = ended(target, now)
    assert target.jobs.events("ann", later)[0].id > ledger.jobs.events("ann", known)[-1].id, "no number is used again"
    target.close()


def test_a_month_that_is_over_is_dropped_as_a_whole(api: ApiHarness, url: str) -> None:
    run(url, PARTITIONED)
    ledger, now = api.context.ledger, time.time()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CALL job_events_of((date_trunc('month', now()) - interval '3 months')::date)")
        (old,) = connection.execute("SELECT extract(epoch FROM now() - interval '3 months')").fetchone() or (0,)
    past, present = ended(ledger, float(old)), ended(ledger, now)
    assert len(partitions(url)) == 2
    run(url, MONTHLY)
    run(url, MONTHLY)
    assert len(partitions(url)) == 1
    assert ledger.jobs.events("ann", past) == []
    assert len(ledger.jobs.events("ann", present)) == 2
    assert api.client().get(f"/jobs/{past}").json()["state"] == "cancelled", "the job itself is there"


def test_jobs_that_were_archived_are_counted_and_forgotten(api: ApiHarness, url: str) -> None:
    ledger, client, now = api.context.ledger, api.client(), time.time()
    things = api.one_of_each()
    recent = ended(ledger, now)
    long_ago = ended(ledger, now - OLD)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE jobs SET finished = %s WHERE id = %s", (now - OLD, things.drawn))
    run(url, ARCHIVED)
    run(url, ARCHIVED)
    with psycopg.connect(url) as connection:
        archived = connection.execute("SELECT kind, state, units, finished - created FROM history.jobs").fetchall()
        columns = [each.name for each in connection.execute("SELECT * FROM history.jobs").description or ()]
    assert archived == [("generate", "cancelled", 1, 0.0)]
    assert not {"id", "owner", "wants", "message", "result"} & set(columns), "nothing of a person"
    answers = {id: client.get(f"/jobs/{id}") for id in (long_ago, recent, things.drawn, things.waiting)}
    assert [answer.status_code for answer in answers.values()] == [404, 200, 200, 200]
    assert answers[long_ago].json()["code"] == "not_found"
    assert client.get(f"/portraits/{things.portrait}/file").status_code == 200, "a job with portraits stays"
    assert client.delete(f"/people/{things.person}").status_code == 200
    assert client.get(f"/jobs/{things.drawn}").status_code == 410
    assert client.get(f"/portraits/{things.portrait}").status_code == 410
    assert client.get(f"/jobs/{long_ago}").status_code == 404
