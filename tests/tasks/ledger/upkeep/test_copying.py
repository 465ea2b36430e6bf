"""A ledger with rows in every table is copied into the other kind of database and back, equal row by row."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from portrait.errors import OperatorError
from tasks.ledger.database import Database
from tasks.ledger.upkeep import copying
from tasks.ledger.upkeep.copying import copy_ledger
from tasks.ledger.upkeep.tables import digest_of, insert_rows, read_rows, read_sequences, tables_of
from tests.tasks.ledger.upkeep import filled as rows


def contents(database: Database) -> dict[str, list[Any]]:
    """Every row of every table, in a fixed order."""
    with database.snapshot() as connection:
        return {table.name: sorted(map(repr, read_rows(connection, table))) for table in tables_of(connection)}


def sequences(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return read_sequences(connection, tables_of(connection))


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(OperatorError) as caught:
        act()
    return caught.value.code


def test_there_and_back_every_row_is_the_same(filled: Database, empty: Database, tmp_path: Path) -> None:
    with filled.write() as connection:
        # The newest event was deleted: its number must not come again, or a stream that saw it would miss the next.
        connection.execute(sa.text("INSERT INTO job_events VALUES (40, 'job_1', 1.0, 'progress', 'running', '{}')"))
        connection.execute(sa.text("DELETE FROM job_events WHERE id = 40"))
    copied = copy_ledger(filled, empty)
    assert {name: digest.rows for name, digest in copied.items()} == {
        name: len(each) for name, each in contents(filled).items()
    }
    assert contents(empty) == contents(filled)
    back = Database(f"sqlite:///{tmp_path / 'back.db'}")
    copy_ledger(empty, back)
    assert contents(back) == contents(filled)
    assert rows.lost(back) == []
    for database in (empty, back):
        assert sequences(database)["job_events"] == 40
        with database.write() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO job_events (job, at, kind, state, data) VALUES ('job_1', 1.0, 'state', 'failed', '{}')"
                )
            )
            assert connection.scalar(sa.text("SELECT max(id) FROM job_events")) == 41
    back.close()


def test_a_database_that_holds_rows_is_refused(filled: Database, empty: Database) -> None:
    copy_ledger(filled, empty)
    before = contents(empty)
    assert code_of(lambda: copy_ledger(filled, empty)) == "not_empty"
    assert contents(empty) == before


def test_nothing_is_copied_while_somebody_works_with_it(filled: Database, empty: Database) -> None:
    with filled.write() as connection:
        connection.execute(sa.text("UPDATE workers SET beat = :now"), {"now": time.time() - 5})
    assert code_of(lambda: copy_ledger(filled, empty)) == "still_running"
    assert contents(empty) == {}


def test_what_starting_wrote_does_not_count(filled: Database, empty: Database) -> None:
    empty.migrate()
    with empty.write() as connection:
        tables = {table.name: table for table in tables_of(connection)}
        connection.execute(sa.insert(tables["consent_texts"]), rows.ROWS["consent_texts"])
    copy_ledger(filled, empty)
    assert contents(empty) == contents(filled)


def test_another_schema_is_refused(filled: Database, empty: Database) -> None:
    with filled.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0013'"))
    assert code_of(lambda: copy_ledger(filled, empty)) == "older_ledger"
    with filled.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert code_of(lambda: copy_ledger(filled, empty)) == "newer_ledger"
    assert contents(empty) == {}, "nothing was made there"


def test_a_row_that_is_not_taken_leaves_nothing(filled: Database, empty: Database) -> None:
    with filled.write() as connection:
        # SQLite does not count; PostgreSQL takes no text with a zero in it.
        connection.execute(sa.text("UPDATE people SET name = 'a' || char(0) WHERE id = 'person_2'"))
    if empty.sqlite:
        copy_ledger(filled, empty)
        return
    assert code_of(lambda: copy_ledger(filled, empty)) == "copy_failed"
    assert contents(empty)["turns"] == []


def test_a_copy_that_differs_is_not_kept(filled: Database, empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(connection: sa.Connection, table: sa.Table, given: Any) -> Any:
        digest = insert_rows(connection, table, given)
        if table.name == "people":
            connection.execute(sa.update(table).where(table.c.id == "person_1").values(name="somebody"))
        return digest

    monkeypatch.setattr(copying, "insert_rows", careless)
    assert code_of(lambda: copy_ledger(filled, empty)) == "copy_failed"
    assert not any(contents(empty).values())


def test_a_digest_knows_no_order_and_every_value(filled: Database) -> None:
    with filled.read() as connection:
        people = next(table for table in tables_of(connection) if table.name == "people")
        before = digest_of(connection, people)
    with filled.write() as connection:
        given = list(read_rows(connection, people))
        connection.execute(sa.text("PRAGMA defer_foreign_keys = ON"))
        connection.execute(sa.text("DELETE FROM people"))
        assert insert_rows(connection, people, reversed(given)).sum == before.sum
        connection.execute(sa.update(people).where(people.c.id == "person_1").values(used=200.5))
        assert digest_of(connection, people).sum != before.sum
