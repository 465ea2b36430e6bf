"""Makes a backup while the installation runs: the rows of one moment, then every file that they name.

What is erased while it is made may be in it: the journal of erasures says so, and restoring erases it again.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from pipelines.folders import atomic
from portrait.errors import OperatorError, UserError
from tasks.backup.archive import ArchiveWriter, Manifest, TableSummary
from tasks.backup.folders import stored_files
from tasks.files import Files, disk_error
from tasks.ledger.database import Database, DatabaseClock
from tasks.ledger.tables import erasures
from tasks.ledger.upkeep.tables import Digest, read_rows, read_sequences, row_to_line, tables_of

LEFT_OUT = ("sessions", "sign_in_codes", "workers")
"""Tables of what passes: who is signed in, codes that open something once, workers that run."""
PIECE_BYTES = 4_000_000
"""Bytes of rows in one member: about so much of a table is in memory."""
Report = Callable[[str], None]
"""Called with what is being written, a few times in all."""


def save(
    database: Database, files: Files, file: Path, marks: Path | None = None, report: Report = lambda _: None
) -> Manifest:
    """Write a backup, which appears under its name when it is complete, readable by this user alone.

    `marks` is the folder of the keys that sign portraits; without it they are left out.

    Raises `UserError` (`folder_taken`) where the file exists, `OperatorError` (`no_ledger`, `disk_full`, `cannot_write`, …).
    """
    if file.exists():
        raise UserError("folder_taken", f"{file} is there already. Name a new file.")
    try:
        with (
            atomic.replace_file(file) as staged,
            _new_private_file(staged) as target,
            tempfile.TemporaryFile(dir=file.parent) as sums,
        ):
            return _Saving(database, files, marks, ArchiveWriter(target, sums), report).save()
    except OSError as error:
        raise disk_error(error) from error


@dataclass(frozen=True, slots=True)
class _Saving:
    database: Database
    files: Files
    marks: Path | None
    writer: ArchiveWriter
    report: Report

    def save(self) -> Manifest:
        schema, taken = self.database.revision(), DatabaseClock(self.database)()
        if schema is None:
            raise OperatorError("no_ledger", "There is no ledger in the database yet: nothing can be backed up.")
        self.report("rows")
        with self.database.snapshot() as connection:
            tables = [table for table in tables_of(connection) if table.name not in LEFT_OUT]
            summaries = {table.name: self._save_table(connection, table) for table in tables}
            numbers = read_sequences(connection, tables)
            erasure = connection.scalar(sa.select(sa.func.max(erasures.c.id))) if erasures.name in summaries else None
        self.report("files")
        unread = self._save_files()
        manifest = Manifest(
            program=version("portrait"),
            schema=schema,
            database=self.database.engine.dialect.name,
            taken=taken,
            tables=summaries,
            numbers=numbers,
            sums=self.writer.add_sums(),
            files=self.writer.files,
            bytes=self.writer.bytes,
            erasure=erasure or "",
            marks=self.marks is not None,
            unread=unread,
        )
        self.writer.close(manifest)
        return manifest

    def _save_table(self, connection: sa.Connection, table: sa.Table) -> TableSummary:
        digest, piece, size, number = Digest(), [], 0, 0
        for row in read_rows(connection, table):
            digest.add(row)
            line = row_to_line(row)
            piece.append(line)
            size += len(line)
            if size > PIECE_BYTES:
                number += 1
                self._save_piece(table.name, number, piece)
                piece, size = [], 0
        if piece:
            self._save_piece(table.name, number + 1, piece)
        return TableSummary(digest.rows, digest.sum)

    def _save_piece(self, table: str, number: int, lines: Sequence[str]) -> None:
        self.writer.add_bytes(f"ledger/{table}/{number:06}.jsonl", "".join(f"{line}\n" for line in lines).encode())

    def _save_files(self) -> int:
        """Add the data folder and the keys of marks; returns how many files were erased after they were listed."""
        unread = 0
        for kept in stored_files(self.files):
            path = self.files.fetch(self.files.root / kept.key)
            unread += not self.writer.add_file(f"data/{kept.key}", path, kept.changed)
        for path in sorted(self.marks.glob("*.*")) if self.marks is not None else ():
            self.writer.add_file(f"marks/{path.name}", path, path.stat().st_mtime)
        return unread


@contextmanager
def _new_private_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that this user alone may read, whatever the settings say of others: it holds everything."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "wb") as file:
        yield file
