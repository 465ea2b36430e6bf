"""The database file: what is deleted is overwritten, also what earlier versions deleted."""

import sqlite3
from pathlib import Path

from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.privacy.erasures import Request
from tests.compat.places import FIXTURES

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
