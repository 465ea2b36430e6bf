"""Disks that really fill: every write fails with `disk_full` and leaves nothing half done, and goes on when there is space."""

import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from portrait.errors import OperatorError
from tasks.backup.saving import save
from tasks.erasing import finish_erasure
from tasks.files import Files
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.privacy.journal import ErasureJournal
from tasks.ledger.tables import people
from tasks.ledger.upkeep.copies import copy_beside
from tests.tasks.full_disk import can_mount, fill, small_disk
from tests.tasks.stand import empty_ledger

pytestmark = pytest.mark.skipif(not can_mount(), reason="only root may mount a small disk")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as place:
        yield place


@pytest.fixture
def ledger(disk: Path) -> Iterator[Ledger]:
    """A ledger on the small disk."""
    (disk / "ledger.db").write_bytes(empty_ledger())
    opened = open_ledger(f"sqlite:///{disk / 'ledger.db'}")
    yield opened
    opened.close()


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(OperatorError) as caught:
        act()
    return caught.value.code


def add(ledger: Ledger) -> str:
    return ledger.people.add("ann", "A" * 200, "1", "Ann", 1.0).id


def add_until_full(ledger: Ledger) -> str:
    """The code with which the first row is refused that finds no room."""
    for _ in range(20_000):
        try:
            add(ledger)
        except OperatorError as error:
            return error.code
    return ""


def add_many(ledger: Ledger, person: str) -> None:
    """Some megabytes of copies of a person."""
    columns = ", ".join(each.name for each in people.c if each.name != "id")
    copies = f"INSERT INTO people (id, {columns}) SELECT 'p' || n, {columns} FROM people, generate_series(1, 30000) n"  # noqa: S608
    with ledger.database.write() as connection:
        connection.execute(sa.text(f"{copies} WHERE id = '{person}'"))


def test_a_ledger_without_room_is_a_full_disk_and_not_away(ledger: Ledger, disk: Path) -> None:
    first = add(ledger)
    filler = fill(disk, leave=60_000)
    assert add_until_full(ledger) == "disk_full"
    assert code_of(lambda: add(ledger)) == "disk_full"
    count = ledger.people.count("ann")
    assert ledger.people.get("ann", first), "what is there can be read"
    filler.unlink()
    add(ledger)
    assert ledger.people.count("ann") == count + 1
    with ledger.database.read() as connection:
        assert connection.scalar(sa.text("PRAGMA integrity_check")) == "ok"


def test_a_ledger_that_cannot_even_be_opened_says_so(disk: Path) -> None:
    (disk / "ledger.db").write_bytes(empty_ledger())
    fill(disk)
    assert code_of(lambda: open_ledger(f"sqlite:///{disk / 'ledger.db'}")) == "disk_full"


def test_nothing_of_a_backup_is_left_on_a_full_disk(ledger: Ledger, disk: Path, tmp_path: Path) -> None:
    files = Files(tmp_path / "data")
    files.save([b"x" * 3_000_000], files.template("ann", "t"), 10**7)
    add(ledger)
    fill(disk, leave=1_000_000)
    before = sorted(disk.iterdir())
    assert code_of(lambda: save(ledger.database, files, disk / "portrait.tar")) == "disk_full"
    assert sorted(disk.iterdir()) == before
    fill(disk)
    assert code_of(lambda: copy_beside(ledger.database, 1.0)) == "cannot_write"
    assert not list(disk.glob("*.copy"))


def test_an_erasure_is_noted_when_there_is_room_again(sqlite: Ledger, disk: Path, tmp_path: Path) -> None:
    place, files = disk / "erasures.jsonl", Files(tmp_path / "data")
    ledger = Ledger(sqlite.database, ErasureJournal(place))
    one, other = (ledger.people.add("ann", name, "1", name, 1.0).id for name in ("Ann", "Bea"))
    finish_erasure(ledger, files, ledger.erasures.erase_person(Request("ann", 2.0), one), 3.0)
    filler = fill(disk)
    with place.open("ab", buffering=0) as file:  # to the end of its last block, which is the journal's already
        file.write(b"\n" * (4096 - place.stat().st_size - 20))
    erasure = ledger.erasures.erase_person(Request("ann", 4.0), other)
    assert finish_erasure(ledger, files, erasure, 5.0).done is None
    filler.unlink()
    assert finish_erasure(ledger, files, erasure, 6.0).done == 6.0
    assert [entry.ids["people"] for entry in ErasureJournal(place).entries()] == [[one], [other]]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_server_without_room_is_a_full_disk_too(database: str, tmp_path: Path) -> None:
    ledger = open_ledger(database)
    place = Path(f"/tmp/portrait-full-{os.getpid()}")  # noqa: S108 -- the server's user must be able to walk to it
    with small_disk(place) as disk:
        owner = pwd.getpwnam("postgres")
        os.chown(disk, owner.pw_uid, owner.pw_gid)
        disk.chmod(0o700)
        engine = ledger.database.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE TABLESPACE small LOCATION '{disk}'"))
            connection.execute(sa.text("ALTER TABLE people SET TABLESPACE small"))
        try:
            person = add(ledger)
            assert code_of(lambda: add_many(ledger, person)) == "disk_full"
            assert ledger.people.count("ann") == 1
        finally:
            with engine.connect() as connection:
                connection.execute(sa.text("DROP TABLE people CASCADE"))
                connection.execute(sa.text("DROP TABLESPACE small"))
            ledger.close()
    place.rmdir()
