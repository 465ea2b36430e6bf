"""What is wrong in a ledger is found, and nothing is changed."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from portrait.errors import OperatorError
from tasks.ledger.database import Database
from tasks.ledger.migrations import revisions
from tasks.ledger.upkeep.checks import check_ledger


def test_a_ledger_in_order(filled: Database) -> None:
    found = check_ledger(filled)
    assert found.sound
    assert (found.database, found.schema, found.newest) == ("sqlite", revisions.newest(), revisions.newest())
    assert found.rows["people"] == 2


def test_an_older_one_says_which_steps_it_lacks(empty: Database) -> None:
    empty.migrate("0012")
    found = check_ledger(empty)
    assert (found.schema, found.steps[0], found.sound) == ("0012", "0013", False)
    assert empty.revision() == "0012"
    assert "asks_guardian" not in {column["name"] for column in sa.inspect(empty.engine).get_columns("people")}


def test_rows_that_refer_to_rows_that_are_gone(filled: Database, tmp_path: Path) -> None:
    connection = filled.engine.raw_connection()
    connection.cursor().execute("PRAGMA foreign_keys = OFF")
    connection.cursor().execute("DELETE FROM people WHERE id = 'person_1'")
    connection.close()
    found = check_ledger(filled)
    assert dict(found.foreign_keys) == {
        "consents.person": 1,
        "identities.person": 1,
        "selfies.person": 1,
        "training_sets.person": 1,
    }
    assert not found.sound


def test_a_broken_file_is_told(filled: Database, tmp_path: Path) -> None:
    filled.close()
    place = tmp_path / "filled.db"
    content = bytearray(place.read_bytes())
    with filled.read() as connection:
        root = connection.scalar(sa.text("SELECT rootpage FROM sqlite_master WHERE name = 'ix_people_owner_id'"))
    filled.close()
    content[(root - 1) * 4096 + 8 : (root - 1) * 4096 + 60] = bytes(52)
    place.write_bytes(content)
    found = check_ledger(filled)
    assert found.integrity
    assert not found.sound


def test_a_ledger_of_a_newer_program_is_not_judged(filled: Database) -> None:
    with filled.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(OperatorError) as raised:
        check_ledger(filled)
    assert raised.value.code == "newer_ledger"
