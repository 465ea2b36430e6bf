"""A backup is one file of one moment, and brings everything back into an empty installation on either database."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from portrait.errors import PortraitError
from tasks.backup import archive, restoring, saving
from tasks.backup.checking import check_backup
from tasks.backup.restoring import Target, restore
from tasks.backup.saving import LEFT_OUT, save
from tasks.ledger.migrations import revisions
from tasks.ledger.upkeep.checks import check_ledger
from tasks.ledger.upkeep.tables import read_rows, read_sequences, tables_of
from tests.tasks.backup.conftest import Place, moved
from tests.tasks.ledger.upkeep.filled import ROWS

KINDS = ("sqlite", "postgresql")
FROM = ("sqlite-from-sqlite", "postgresql-from-sqlite", "postgresql-to-sqlite")
KEPT = {"selfie_1", "set.json", "0001.png", "01.jpg", "template_1", "template_2", "style.toml"}


def rows(place: Place) -> dict[str, list[str]]:
    database = place.database
    with database.snapshot() as connection:
        found = {table.name: sorted(map(repr, read_rows(connection, table))) for table in tables_of(connection)}
    database.close()
    return found


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(PortraitError) as caught:
        act()
    return caught.value.code


@pytest.mark.parametrize(
    ("back", "kind"), [("sqlite", "sqlite"), ("postgresql", "sqlite"), ("sqlite", "postgresql")], ids=FROM
)
def test_everything_is_back(full: Place, place_of: Callable[[str], Place], kind: str, back: str) -> None:
    source = full if kind == "sqlite" else moved(full, place_of(kind))
    file, target = full.home / "portrait.tar", place_of(back)
    manifest = save(source.database, source.files, file, source.marks)
    assert (manifest.database, manifest.schema, manifest.files) == (kind, revisions.newest(), len(KEPT) + 2)
    assert file.stat().st_mode & 0o777 == 0o600
    restored, replayed = restore(file, Target(target.database, target.files, target.marks))
    assert (restored, replayed.entries) == (manifest, 0)
    before, after = rows(source), rows(target)
    assert {name: each for name, each in after.items() if name not in LEFT_OUT} == {
        name: each for name, each in before.items() if name not in LEFT_OUT
    }
    assert [after[name] for name in LEFT_OUT] == [[], [], []]
    assert {Path(name).name for name in target.pictures()} == KEPT
    assert target.pictures().items() <= source.pictures().items()
    assert (target.marks / "signing.pem").read_bytes() == b"secret"
    assert check_ledger(target.database).sound
    with source.database.read() as one, target.database.read() as other:
        assert read_sequences(one, tables_of(one)) == read_sequences(other, tables_of(other))


def test_anybody_can_unpack_and_check_it(full: Place, tmp_path: Path) -> None:
    file = full.home / "portrait.tar"
    save(full.database, full.files, file)
    with tarfile.open(file) as tar:
        assert tar.getnames()[-2:] == ["files.sha256", "manifest.json"]
        tar.extractall(tmp_path / "out", filter="data")
    checked = subprocess.run(["sha256sum", "-c", "files.sha256"], cwd=tmp_path / "out", capture_output=True, text=True)
    assert checked.returncode == 0
    assert checked.stdout.count(": OK") == len(KEPT)
    people = (tmp_path / "out" / "ledger" / "people" / "000001.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in people] == [row["name"] for row in ROWS["people"]]
    assert not (tmp_path / "out" / "marks").exists(), "keys are asked for"


def test_it_is_of_one_moment_while_others_write(full: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, file = full.ledger(), full.home / "portrait.tar"
    read = saving._Saving._save_table
    added: list[str] = []

    def slow(self: saving._Saving, connection: sa.Connection, table: sa.Table) -> archive.TableSummary:
        added.append(ledger.people.add("ann", f"Late {len(added)}", "1", "Ann", 300.0).id)
        return read(self, connection, table)

    monkeypatch.setattr(saving._Saving, "_save_table", slow)
    manifest = save(full.database, full.files, file)
    # The first was added before anything was read, so that it may be there, with its consent; none of the others is.
    assert manifest.tables["people"].rows - 2 == manifest.tables["consents"].rows - 2
    assert manifest.tables["people"].rows <= 3 < len(added)
    check_backup(file)


def test_a_file_that_is_erased_meanwhile_is_left_out(full: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    add = archive.ArchiveWriter.add_file

    def erased(self: archive.ArchiveWriter, name: str, path: Path, changed: float) -> bool:
        if name.endswith("selfie_1"):
            path.unlink()
        return add(self, name, path, changed)

    monkeypatch.setattr(archive.ArchiveWriter, "add_file", erased)
    manifest = save(full.database, full.files, full.home / "portrait.tar")
    assert (manifest.unread, manifest.files) == (1, len(KEPT) - 1)
    check_backup(full.home / "portrait.tar")


def test_a_backup_that_is_interrupted_leaves_nothing(full: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.ArchiveWriter, "add_sums", killed)
    before = {*full.home.iterdir(), full.home / "ledger.db-shm", full.home / "ledger.db-wal"}
    assert code_of(lambda: save(full.database, full.files, full.home / "portrait.tar")) == "disk_full"
    assert set(full.home.iterdir()) <= before
    (full.home / "portrait.tar").write_bytes(b"earlier")
    assert code_of(lambda: save(full.database, full.files, full.home / "portrait.tar")) == "folder_taken"


def test_little_of_it_is_in_memory(
    full: Place, place_of: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "PIECE_BYTES", 2000)
    with full.database.write() as connection:
        events = next(table for table in tables_of(connection) if table.name == "job_events")
        row = {"job": "job_1", "at": 1.0, "kind": "state", "state": "running", "data": {}}
        connection.execute(sa.insert(events), [row] * 300)
    sizes: list[int] = []
    add = archive.ArchiveWriter.add_bytes

    def measured(self: archive.ArchiveWriter, name: str, content: bytes) -> None:
        sizes.append(len(content))
        add(self, name, content)
        assert self._tar.members == []  # pyrefly: ignore[missing-attribute] -- typeshed does not know it

    monkeypatch.setattr(archive.ArchiveWriter, "add_bytes", measured)
    manifest = save(full.database, full.files, full.home / "portrait.tar")
    assert len(sizes) > 15
    assert max(sizes[:-1]) < 4000
    target = place_of("sqlite")
    restore(full.home / "portrait.tar", Target(target.database, target.files))
    assert len(rows(target)["job_events"]) == manifest.tables["job_events"].rows == 302


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_of_an_earlier_schema_is_brought_to_the_present(place_of: Callable[[str], Place], kind: str) -> None:
    old, new = place_of("sqlite"), place_of(kind)
    old.database.migrate("0010")
    with old.database.write() as connection:
        tables = {table.name: table for table in tables_of(connection)}
        for name in ("people", "consents", "jobs", "job_people", "portraits"):
            connection.execute(sa.insert(tables[name]), ROWS[name])
    manifest = save(old.database, old.files, old.home / "portrait.tar")
    assert manifest.schema == "0010"
    new.database.migrate()  # as starting it once does
    restore(old.home / "portrait.tar", Target(new.database, new.files))
    assert new.database.revision() == revisions.newest()
    portrait = new.ledger().portraits.get("ann", "portrait_1")
    assert (portrait.distance, portrait.rules_broken) == (0.31, 2), "what 0011 computes of stored rows"


def test_nothing_is_restored_over_anything(full: Place, place_of: Callable[[str], Place]) -> None:
    file = full.home / "portrait.tar"
    save(full.database, full.files, file, full.marks)
    before = rows(full), full.pictures()
    assert code_of(lambda: restore(file, Target(full.database, place_of("sqlite").files))) == "not_empty"
    other = place_of("sqlite")
    assert code_of(lambda: restore(file, Target(other.database, full.files))) == "not_empty"
    assert code_of(lambda: restore(file, Target(other.database, other.files, full.marks))) == "not_empty"
    assert not any(rows(other).values())
    assert (rows(full), full.pictures()) == before
    without = full.home / "without.tar"
    save(full.database, full.files, without)
    assert code_of(lambda: restore(without, Target(other.database, other.files, other.marks))) == "bad_backup"


def test_a_restore_that_was_interrupted_can_be_done_again(
    full: Place, place_of: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, target = full.home / "portrait.tar", place_of("sqlite")
    save(full.database, full.files, file)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(restoring, "_publish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            restore(file, Target(target.database, target.files))
    assert not any(rows(target).values())
    assert target.pictures() == {}
    left = target.files.root / ".restore.dead" / "data" / "half"  # of one that was killed
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    restore(file, Target(target.database, target.files))
    assert {Path(name).name for name in target.pictures()} == KEPT


def test_nothing_is_restored_under_a_keeper_that_runs(full: Place, place_of: Callable[[str], Place]) -> None:
    file, target = full.home / "portrait.tar", place_of("sqlite")
    save(full.database, full.files, file)
    target.database.migrate()
    with target.database.write() as connection:
        workers = next(table for table in tables_of(connection) if table.name == "workers")
        connection.execute(sa.insert(workers), [{**ROWS["workers"][0], "version": "", "beat": time.time()}])
    assert code_of(lambda: restore(file, Target(target.database, target.files))) == "still_running"


def changed(file: Path, name: str, content: bytes | None) -> Path:
    """The same backup with another content of one member, or without it."""
    wrong = file.with_name(f"wrong-{os.urandom(4).hex()}.tar")
    with tarfile.open(file) as old, tarfile.open(wrong, "w") as new:
        for member in old:
            read = old.extractfile(member)
            assert read is not None
            data = read.read() if member.name != name else content
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    return wrong


def test_what_was_changed_or_cut_off_is_refused_before_anything_is_written(
    full: Place, place_of: Callable[[str], Place]
) -> None:
    file, target = full.home / "portrait.tar", place_of("sqlite")
    save(full.database, full.files, file)
    people = "ledger/people/000001.jsonl"
    with tarfile.open(file) as tar:
        read = tar.extractfile(people)
        assert read is not None
        lines = read.read()
    portrait = "data/owners/ann/jobs/job_1/01.jpg"
    cut = file.with_name("cut.tar")
    for size in (100, 5000, file.stat().st_size // 2, file.stat().st_size - 20_000):
        cut.write_bytes(file.read_bytes()[:size])
        assert code_of(lambda: restore(cut, Target(target.database, target.files))) == "bad_backup", size
    for wrong in (
        changed(file, people, lines.replace(b"person_1", b"person_9")),
        changed(file, people, lines.splitlines(keepends=True)[0]),
        changed(file, people, None),
        changed(file, portrait, b"another face"),
        changed(file, portrait, None),
        changed(file, "manifest.json", None),
        changed(file, "manifest.json", b"{}"),
        changed(file, "files.sha256", hashlib.sha256(b"").hexdigest().encode()),
        full.home / "ledger.db",
    ):
        assert code_of(partial(restore, wrong, Target(target.database, target.files))) == "bad_backup"
    assert code_of(lambda: restore(full.home / "nothing.tar", Target(target.database, target.files))) == "not_found"
    assert not any(rows(target).values())
    assert target.pictures() == {}


def test_no_name_leads_out_of_the_folder(full: Place, place_of: Callable[[str], Place]) -> None:
    file, target = full.home / "portrait.tar", place_of("sqlite")
    save(full.database, full.files, file)
    for name, kind in (
        ("data/../../x", tarfile.REGTYPE),
        ("/etc/x", tarfile.REGTYPE),
        ("data/owners/x", tarfile.SYMTYPE),
    ):
        wrong = file.with_name("wrong.tar")
        wrong.write_bytes(file.read_bytes())
        with tarfile.open(wrong, "a") as tar:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        assert code_of(partial(restore, wrong, Target(target.database, target.files))) == "bad_backup", name


def test_a_backup_of_a_newer_program_is_left_alone(full: Place, place_of: Callable[[str], Place]) -> None:
    file, target = full.home / "portrait.tar", place_of("sqlite")
    save(full.database, full.files, file)
    with tarfile.open(file) as tar:
        read = tar.extractfile("manifest.json")
        assert read is not None
        manifest = json.loads(read.read())
    newer = changed(file, "manifest.json", json.dumps({**manifest, "schema": "9999"}).encode())
    assert code_of(lambda: restore(newer, Target(target.database, target.files))) == "newer_ledger"


def test_a_database_without_a_ledger_has_nothing_to_back_up(place_of: Callable[[str], Place]) -> None:
    place = place_of("sqlite")
    assert code_of(lambda: save(place.database, place.files, place.home / "portrait.tar")) == "no_ledger"


def test_it_waits_for_nobody(full: Place) -> None:
    done = threading.Event()

    def back_up() -> None:
        save(full.database, full.files, full.home / "portrait.tar")
        done.set()

    with full.database.write() as connection:
        connection.execute(sa.text("UPDATE people SET used = 1000"))
        thread = threading.Thread(target=back_up)
        thread.start()
        assert done.wait(20), "a writer holds it up"
    thread.join()
