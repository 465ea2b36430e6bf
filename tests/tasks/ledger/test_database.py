"""The database file: what is deleted is overwritten, also what earlier versions deleted."""

import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from portrait.errors import OperatorError
from tasks.ledger.database import REWRITE_LOCK, Database
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.privacy.erasures import Request
from tests.compat.places import FIXTURES
from tests.tasks import privacy_story as story

NAME = "Quillfeather"


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


def test_what_an_earlier_version_deleted_is_overwritten(tmp_path: Path) -> None:
    place = tmp_path / "ledger.db"
    place.write_bytes((FIXTURES / "home" / "ledger.db").read_bytes())
    with sqlite3.connect(place) as old:
        old.execute("PRAGMA secure_delete = OFF")
        for number in range(200):
            old.execute("INSERT INTO people VALUES (?, 'ann', ?, 1, 1)", (f"p{number}", NAME * 10))
        old.execute("DELETE FROM people WHERE name LIKE ?", (f"{NAME}%",))
    old.close()
    assert NAME.encode() in contents(tmp_path)
    open_ledger(f"sqlite:///{place}").close()
    assert NAME.encode() not in contents(tmp_path)


def test_what_is_deleted_is_overwritten_in_file_and_log(sqlite: Ledger, tmp_path: Path) -> None:
    people = [sqlite.people.add("ann", f"{NAME} {number}", "1", NAME, 1.0).id for number in range(50)]
    assert NAME.encode() in contents(tmp_path)
    sqlite.erasures.erase_owner(Request("ann", 2.0))
    assert len(people) == 50
    assert sqlite.database.scrub()
    assert NAME.encode() not in contents(tmp_path)


def test_the_log_is_not_emptied_under_a_reader(sqlite: Ledger, tmp_path: Path) -> None:
    other = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    with other.read() as connection:
        connection.exec_driver_sql("SELECT * FROM people").all()
        sqlite.people.add("ann", NAME, "1", NAME, 1.0)
        assert not sqlite.database.scrub(), "somebody may need what was there before"
    assert sqlite.database.scrub()
    other.close()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_what_is_deleted_goes_out_of_the_servers_files(ledger: Ledger) -> None:
    person = ledger.people.add("ann", NAME, "1", NAME, 1.0).id
    other = ledger.people.add("ann", "Marrowby", "1", "Marrowby", 1.0).id
    with autocommitting(ledger) as connection:
        story.keep_no_log(connection)
        connection.execute(sa.text("ANALYZE"))
    ledger.erasures.erase_person(Request("ann", 2.0), person)
    assert NAME.encode() in b"".join(story.server_files(ledger)), "deleted rows and the samples of columns stay"
    assert ledger.database.rewrite()
    files = b"".join(story.server_files(ledger))
    assert NAME.encode() not in files
    assert b"Marrowby" in files
    assert ledger.people.get("ann", other).name == "Marrowby"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_table_in_use_is_left_for_the_next_time(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.ledger.database.REWRITE_TIMEOUT_MS", 100)
    with ledger.database.snapshot() as connection:
        connection.execute(sa.text("SELECT * FROM people"))
        assert not ledger.database.rewrite()
    with autocommitting(ledger) as connection:
        connection.execute(sa.text(f"SELECT pg_advisory_lock({REWRITE_LOCK})"))
        assert not ledger.database.rewrite(), "another process is at it"
        connection.execute(sa.text(f"SELECT pg_advisory_unlock({REWRITE_LOCK})"))
    assert ledger.database.rewrite()


def autocommitting(ledger: Ledger) -> sa.Connection:
    """A connection without transactions."""
    return ledger.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def test_a_ledger_of_a_newer_program_is_left_alone(sqlite: Ledger) -> None:
    with sqlite.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(OperatorError) as raised:
        open_ledger(str(sqlite.database.engine.url))
    assert raised.value.code == "newer_ledger"
    assert "9999" in raised.value.message
    assert sqlite.database.revision() == "9999"


def test_opening_a_ledger_of_the_present_schema_waits_for_no_writer(sqlite: Ledger) -> None:
    with sqlite.database.write():
        # Whoever migrates waits for the writer, which here would be for ever.
        open_ledger(str(sqlite.database.engine.url)).close()


def test_threads_write_one_after_the_other(sqlite: Ledger) -> None:
    """SQLite itself would have them look again in ever longer steps."""
    begun: list[int] = []
    event.listen(sqlite.database.engine, "begin", lambda _: begun.append(threading.get_ident()))

    def write() -> None:
        with sqlite.database.write():
            pass

    with sqlite.database.write():
        other = threading.Thread(target=write)
        other.start()
        other.join(0.2)
        assert begun == [threading.get_ident()]
    other.join(10)
    assert begun == [threading.get_ident(), other.ident]
