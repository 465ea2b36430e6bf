"""Compares the rows of a ledger with the stored files: rows whose file is missing, files that belong to no row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tasks.erasing import find_orphans, find_unfinished
from tasks.files import Files
from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger
from tasks.ledger.tables import identities, portraits, selfies, style_versions, templates, training_sets
from tasks.ledger.upkeep.tables import read_rows

MOST = 1000
"""Names of each kind that are told; all are counted."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What was found, by paths below the data folder."""

    rows: int
    """Rows that name a file or a folder."""
    missing: Sequence[str]
    """Their files that are not there; `MOST` of them."""
    missing_count: int
    orphans: Sequence[str]
    """What belongs to no row and was not written today, and what was never completed; the keeper erases it."""
    orphan_count: int

    @property
    def sound(self) -> bool:
        """Whether every row has its file; what belongs to no row does no harm."""
        return not self.missing_count


def check_files(database: Database, files: Files, now: float) -> FileCheck:
    """Look for the file of every row, and for the row of every file; raises `OperatorError` (`storage_unreachable`, …)."""
    rows, missing, kept = 0, 0, []
    with database.snapshot() as connection:
        for path in _named(connection, files):
            rows += 1
            if not (files.exists(path) or next(files.storage.list(_key(files, path)), None)):
                missing += 1
                kept += [_key(files, path)] if missing <= MOST else []
    ledger = Ledger(database)
    orphans = [*find_orphans(ledger, files.owned(), now), *find_unfinished(files, now)]
    return FileCheck(rows, kept, missing, [_key(files, path) for path in orphans[:MOST]], len(orphans))


def _named(connection: sa.Connection, files: Files) -> Iterator[Path]:
    """Yield the file or folder that each row names."""
    for row in read_rows(connection, selfies):
        yield files.selfie(row["owner"], row["person"], row["id"])
    for row in read_rows(connection, training_sets):
        yield files.training_set(row["owner"], row["person"], row["id"])
    for row in read_rows(connection, identities):
        if row["base"]:  # one that was made of photos alone is its training set
            yield files.identity(row["owner"], row["person"], row["id"])
    for row in read_rows(connection, templates):
        yield files.template(row["owner"], row["id"])
    for row in read_rows(connection, portraits):
        yield files.portrait(row["owner"], row["job"], row["file"])
    for row in read_rows(connection, style_versions):
        yield files.style(row["id"], row["version"])


def _key(files: Files, path: Path) -> str:
    return path.relative_to(files.root).as_posix()
