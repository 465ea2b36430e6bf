"""A ledger with rows in every table goes through every version, on both databases, and nothing is lost."""

import sqlalchemy as sa

from tasks.ledger.database import Database
from tasks.ledger.migrations import revisions
from tasks.ledger.privacy.blocked_people import blocked_people
from tasks.ledger.tables import metadata
from tasks.ledger.upkeep.checks import check_ledger
from tasks.ledger.upkeep.tables import NOT_ROWS, count_rows, tables_of
from tests.tasks.ledger.upkeep import filled as rows


def test_every_row_is_there_after_every_step(empty: Database) -> None:
    steps = 0
    for revision in rows.fill(empty):
        steps += 1
        assert rows.lost(empty) == [], revision
        found = check_ledger(empty)
        assert (dict(found.foreign_keys), list(found.integrity)) == ({}, []), revision
    assert steps >= 15
    assert empty.revision() == revisions.newest()
    with empty.read() as connection:
        counted = count_rows(connection, tables_of(connection))
        assert [name for name, number in counted.items() if number == 0] == []
        assert counted.keys() == set(metadata.tables) - set(NOT_ROWS)


def test_every_table_has_rows_to_be_brought_along() -> None:
    assert blocked_people.metadata is metadata
    assert rows.without_rows(metadata) == set(), "write rows of a new table into filled.py"


def test_a_new_table_without_rows_is_found() -> None:
    tables = sa.MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(tables)
    sa.Table("new_things", tables, sa.Column("id", sa.String(64), primary_key=True))
    assert rows.without_rows(tables) == {"new_things"}


def test_a_row_that_a_migration_changes_is_found(filled: Database) -> None:
    assert rows.lost(filled) == []
    with filled.write() as connection:
        connection.execute(sa.text("UPDATE people SET name = 'x' WHERE id = 'person_1'"))
        connection.execute(sa.text("DELETE FROM consents WHERE id = 'consent_2'"))
    assert [row["id"] for row in rows.lost(filled)] == ["person_1", "consent_2"]
