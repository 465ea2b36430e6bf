"""What is kept of an owner is counted as it is written, and what pages show of it is read without reading all of it."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event

from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger
from tasks.ledger.migrations import revisions
from tasks.ledger.pictures import PortraitFilter, PortraitSort
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import TemplateRow
from tasks.ledger.tables import portraits, selfies, templates
from tasks.ledger.upkeep.copying import copy_ledger
from tasks.ledger.usage import holdings
from tests.tasks.ledger.test_ledger import claim, portrait, selfie
from tests.tasks.stand import new_job

COUNTED = {"selfies": selfies, "portraits": portraits, "templates": templates}


def counted(database: Database) -> set[tuple[str, str, int, int]]:
    with database.read() as connection:
        return {tuple(row) for row in connection.execute(sa.select(holdings))}


def summed(database: Database) -> set[tuple[str, str, int, int]]:
    """What `holdings` is to hold, by reading everything."""
    found = set()
    with database.read() as connection:
        for name, table in COUNTED.items():
            there = sa.func.sum(sa.case((table.c.removed.is_(None), 1), else_=0))
            rows = connection.execute(sa.select(table.c.owner, there, sa.func.sum(table.c.bytes)).group_by("owner"))
            found |= {(row[0], name, int(row[1]), int(row[2])) for row in rows}
    return found


def drawn(ledger: Ledger, owner: str, many: int = 3) -> tuple[str, list[str]]:
    """A person with a photo, an uploaded picture, and a job that delivered: its id, and those of its portraits."""
    person = ledger.people.add(owner, "Ann", "1", "Ann", 1.0).id
    ledger.people.add_selfie(selfie(owner, person, f"{owner:a<64}"), 9)
    ledger.templates.add(TemplateRow(f"template_{owner}", owner, "a.jpg", 7, 4, 3, "JPEG", "", 1.0), 9)
    ledger.jobs.add(new_job(owner=owner, params={"people": {"1": person}}), [person])
    job = claim(ledger)
    rows = [portrait(job, number) for number in range(1, many + 1)]
    ledger.queue.finish(job, 100.0, Outcome(portraits=rows), lambda: None)
    return person, [row.id for row in rows]


def test_it_is_what_is_there_whatever_is_written(ledger: Ledger) -> None:
    person, ids = drawn(ledger, "ann")
    drawn(ledger, "bob")
    asked = Request("ann", 2.0)
    acts: list[Callable[[], object]] = [
        lambda: ledger.undo.remove(asked, "portrait", ids[0]),
        lambda: ledger.undo.remove(asked, "selfie", f"selfie-{'ann':a<8}"),
        lambda: ledger.undo.restore(asked, "portrait", ids[0]),
        lambda: ledger.erasures.erase_portrait(asked, ids[1]),
        lambda: ledger.portraits.change("ann", ids[0], favourite=True),
        lambda: ledger.erasures.erase_person(asked, person),
        lambda: ledger.erasures.erase_owner(Request("bob", 2.0)),
    ]
    assert len(counted(ledger.database)) == 6
    for act in acts:
        act()
        assert counted(ledger.database) == summed(ledger.database)
        for owner in ("ann", "bob"):
            every = ledger.portraits.list(owner, limit=99).items
            assert ledger.portraits.count(owner) == len(every)
            assert ledger.usage.stored_bytes(owner) == sum(row[3] for row in summed(ledger.database) if row[0] == owner)
    assert {row[0] for row in counted(ledger.database)} == {"ann"}, "nothing is left of who was erased"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_was_there_before_is_counted_and_copied(ledger: Ledger, new_database: Callable[[], str]) -> None:
    drawn(ledger, "ann")
    target = Database(new_database())
    copy_ledger(ledger.database, target)
    assert counted(target) == summed(target) == counted(ledger.database)
    target.close()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_earlier_ledger_is_counted_when_it_is_migrated(ledger: Ledger) -> None:
    drawn(ledger, "ann")
    before = counted(ledger.database)
    _, script = revisions._alembic()
    step = script.get_revision("0018").module
    with ledger.database.write() as connection, Operations.context(MigrationContext.configure(connection)):
        step.downgrade()
        step.upgrade()
    assert counted(ledger.database) == before


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_later_migration_loses_what_a_copied_table_loses(ledger: Ledger) -> None:
    """SQLite copies a table to alter it, and Alembic takes neither triggers nor indexes of expressions along."""
    with ledger.database.read() as connection:
        made = set(
            connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type IN ('trigger', 'index')").scalars()
        )
    triggers = {f"holdings_of_{table}_{event}" for table in COUNTED for event in ("insert", "update", "delete")}
    triggers |= {"waiting_insert", "waiting_delete", "waiting_before_update", "waiting_after_update"}
    assert triggers | {"ix_portraits_alike", "ix_portraits_marked", "ix_jobs_active"} <= made


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("sort", ["newest", "likeness"])
def test_a_page_is_read_from_an_index_wherever_it_begins(ledger: Ledger, sort: PortraitSort) -> None:
    person, _ = drawn(ledger, "ann", 9)
    statements: list[tuple[str, tuple[object, ...]]] = []
    event.listen(
        ledger.database.engine, "before_cursor_execute", lambda *given: statements.append((given[2], tuple(given[3])))
    )
    first = ledger.portraits.list("ann", PortraitFilter(), None, 3, sort)
    ledger.portraits.list("ann", PortraitFilter(), first.next, 3, sort)
    ledger.jobs.count_active("ann")
    ledger.portraits.list("ann", PortraitFilter(favourite=True), None, 3, "newest")
    for few in (PortraitFilter(person=person), PortraitFilter(job="job_1"), PortraitFilter(order="order_1")):
        ledger.portraits.list("ann", few, None, 3, sort)
    pages = [each for each in statements if each[0].startswith("SELECT")]
    with ledger.database.read() as connection:
        plans = [
            "; ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values))
            for text, values in pages
        ]
    index = {"newest": "ix_portraits_there", "likeness": "ix_portraits_alike"}[sort]
    begun = {"newest": "(owner=? AND created<?)", "likeness": "(owner=? AND rules_broken=? AND <expr>>?)"}[sort]
    assert f"USING INDEX {index} (owner=?)" in plans[0]
    assert f"USING INDEX {index} {begun}" in plans[1], "the second page does not begin at the first"
    assert "ix_jobs_active" in plans[2]
    assert "ix_portraits_marked" in plans[3]
    assert all("portraits USING INDEX" in plan and "(job=?)" in plan for plan in plans[4:]), plans[4:]
    if sort == "likeness":
        assert "TEMP B-TREE" not in "".join(plans[:2])
