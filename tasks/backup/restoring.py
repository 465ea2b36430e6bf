"""Restores a backup into an empty database and an empty data folder, of either kind of database and of earlier schemas."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from pipelines.folders import atomic
from portrait.errors import OperatorError
from tasks.backup.archive import MANIFEST, SUMS, Manifest, open_archive
from tasks.backup.checking import check_backup, table_of
from tasks.backup.folders import require_no_files
from tasks.backup.replaying import Replayed, entries_of, replay, require_files
from tasks.backup.saving import Report
from tasks.files import Files, disk_error
from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger
from tasks.ledger.migrations import revisions
from tasks.ledger.privacy.journal import ErasureJournal
from tasks.ledger.upkeep.copying import clear, require_empty, require_stopped
from tasks.ledger.upkeep.tables import NOT_ROWS, digest_of, insert_rows, set_sequences, tables_of


@dataclass(frozen=True, slots=True)
class Target:
    """Where a backup is restored."""

    database: Database
    files: Files
    marks: Path | None = None
    """The folder of the keys that sign portraits; None to leave them out."""
    journal: Path | None = None
    """The journal of erasures of the installation, which takes in those that are done again."""


def restore(
    path: Path, target: Target, journals: Sequence[Path] = (), report: Report = lambda _: None
) -> tuple[Manifest, Replayed]:
    """Restore a backup, all of it or nothing, bring the ledger to the present schema, and do the journals' erasures again.

    The backup is read whole and compared with its manifest first. Raises `OperatorError`: `bad_backup`, `newer_ledger` for
    one of a newer program, `bad_journal` also where none of them knows the newest erasure of the backup, `still_running`,
    `not_empty` where database or folders hold something, `copy_failed`, `disk_full`, `cannot_write`.
    """
    report("check")
    manifest = check_backup(path)
    _require_fitting(manifest, target, journals)
    _require_empty(target)
    _prepare_schema(target.database, manifest)
    try:
        with _staged(target.files.root) as staged:
            report("files")
            _unpack(path, staged)
            report("rows")
            with target.database.write() as connection:
                clear(connection)
                _insert(path, manifest, connection)
                _publish(staged, target)
    except OSError as error:
        raise disk_error(error) from error
    target.database.migrate()
    ledger = Ledger(target.database, ErasureJournal(target.journal) if target.journal else None)
    return manifest, replay(ledger, target.files, journals)


def _require_fitting(manifest: Manifest, target: Target, journals: Sequence[Path]) -> None:
    if not revisions.knows(manifest.schema):
        sentence = (
            f"The backup was made by a newer version of this program ({manifest.program}). Restore it with that one."
        )
        raise OperatorError("newer_ledger", sentence)
    if target.marks is not None and not manifest.marks:
        sentence = "The backup holds no keys of marks: it was made without --marks. Leave it out here too."
        raise OperatorError("bad_backup", sentence)
    require_files(journals)
    if journals and manifest.erasure and all(entry.id != manifest.erasure for entry in entries_of(journals)):
        sentence = (
            "The journal lacks the newest erasure of the backup: it is older, or another installation's. Name another."
        )
        raise OperatorError("bad_journal", sentence)


def _require_empty(target: Target) -> None:
    require_stopped(target.database)
    require_empty(target.database)
    require_no_files(target.files)
    if target.marks is not None and any(target.marks.glob("*")):
        sentence = f"There are keys of marks in {target.marks} already. Move that folder away: nothing was written."
        raise OperatorError("not_empty", sentence)


def _prepare_schema(database: Database, manifest: Manifest) -> None:
    """Give an empty database the schema of the backup, from which it is migrated with its rows."""
    if database.revision() not in {None, manifest.schema}:
        with database.write() as connection:
            for name in [*(table.name for table in reversed(tables_of(connection))), *NOT_ROWS]:
                # It needs the name alone, and what triggers count is not in every schema.
                connection.execute(sa.schema.DropTable(sa.table(name), if_exists=True))  # pyrefly: ignore[bad-argument-type] -- a name
    database.migrate(manifest.schema)


@contextmanager
def _staged(data: Path) -> Iterator[Path]:
    """Give a hidden folder on the disk of the data folder; removed afterwards, with those of runs that were killed."""
    data.mkdir(parents=True, exist_ok=True)
    folder = data / f".restore.{secrets.token_hex(4)}"
    for earlier in data.glob(".restore.*"):
        shutil.rmtree(earlier, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(path: Path, staged: Path) -> None:
    with open_archive(path) as members:
        for member, content in members:
            if not table_of(member.name) and member.name not in (MANIFEST, SUMS):
                place = staged / member.name
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("xb") as file:
                    shutil.copyfileobj(content, file)
                os.utime(place, (member.mtime, member.mtime))
    os.sync()  # at once: a million files one by one would take hours


def _insert(path: Path, manifest: Manifest, connection: sa.Connection) -> None:
    tables = {table.name: table for table in tables_of(connection)}
    with open_archive(path) as members:
        for member, content in members:
            if name := table_of(member.name):
                _insert_piece(connection, tables[name], content)
    for name, given in manifest.tables.items():
        held = digest_of(connection, tables[name])
        if (held.rows, held.sum) != (given.rows, given.sum):
            raise OperatorError(
                "copy_failed", f"The database does not hold the rows of {name} as they were. It is as before."
            )
    set_sequences(connection, manifest.numbers)


def _insert_piece(connection: sa.Connection, table: sa.Table, content: IO[bytes]) -> None:
    try:
        insert_rows(connection, table, (json.loads(line) for line in content))
    except (DataError, IntegrityError) as error:
        reason = str(error.orig).splitlines()[0]
        sentence = f"The database does not take a row of {table.name}: {reason}. It is as before."
        raise OperatorError("copy_failed", sentence) from error


def _publish(staged: Path, target: Target) -> None:
    """Move what was unpacked to its place: the last step before the rows are committed."""
    for entry in sorted((staged / "data").glob("*")):
        if target.files.bucket is not None:
            target.files.bucket.put(entry.name, entry)
        else:
            _move(entry, target.files.root / entry.name)
    if target.marks is not None:
        target.marks.parent.mkdir(parents=True, exist_ok=True)
        _move(staged / "marks", target.marks)


def _move(folder: Path, place: Path) -> None:
    """Move a folder whose files are on the disk to where nothing is kept."""
    shutil.rmtree(place, ignore_errors=True)  # empty folders
    folder.rename(place)
    atomic.sync_folder(place.parent)
