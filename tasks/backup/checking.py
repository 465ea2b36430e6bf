"""Reads a backup completely and compares every row and file with its manifest, before anything is done with it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from portrait.errors import OperatorError
from tasks.backup.archive import CHUNK_BYTES, MANIFEST, SUMS, Manifest, open_archive, read_manifest, sum_line
from tasks.ledger.upkeep.tables import Digest, Row


def check_backup(path: Path) -> Manifest:
    """Read a backup from its beginning to its end; returns what it holds.

    Raises `OperatorError` (`bad_backup`) where anything in it is not what its manifest says, `not_found`, `no_permission`.
    """
    with open_archive(path) as members:
        found = _Found()
        for member, content in members:
            found.take(member.name, content)
    return found.manifest(path)


def table_of(name: str) -> str:
    """Return the table that a member holds rows of; empty for a file."""
    folder, _, rest = name.partition("/")
    return rest.partition("/")[0] if folder == "ledger" else ""


@dataclass(slots=True)
class _Found:
    """What was read so far."""

    tables: dict[str, Digest] = field(default_factory=dict)
    files: int = 0
    size: int = 0
    sums: Any = field(default_factory=hashlib.sha256)
    """Over the lines that `files.sha256` should have."""
    written_sums: str = ""
    """SHA-256 of the `files.sha256` that is there."""
    last: bytes = b""
    """The manifest."""

    def take(self, name: str, content: IO[bytes]) -> None:
        if name == MANIFEST:
            self.last = content.read()
        elif name == SUMS:
            self.written_sums = hashlib.file_digest(content, "sha256").hexdigest()  # pyrefly: ignore[no-matching-overload] -- it reads
        elif table := table_of(name):
            digest = self.tables.setdefault(table, Digest())
            for line in content:
                digest.add(_row(line))
        else:
            sha256, size = _read(content)
            self.sums.update(sum_line(sha256, name))
            self.files, self.size = self.files + 1, self.size + size

    def manifest(self, path: Path) -> Manifest:
        if not self.last:
            raise OperatorError(
                "bad_backup", f"{path} is no backup, or it is cut off: its manifest is missing. Take another copy."
            )
        manifest = read_manifest(self.last)
        wrong = [name for name, table in manifest.tables.items() if _differs(self.tables, name, table.rows, table.sum)]
        sums = self.sums.hexdigest()
        if (sums, self.written_sums, self.files, self.size) != (manifest.sums, sums, manifest.files, manifest.bytes):
            wrong.append("files")
        if wrong or set(self.tables) - set(manifest.tables):
            named = ", ".join(wrong) or "tables"
            raise OperatorError(
                "bad_backup", f"{path} does not hold what its manifest says ({named}). Take another copy."
            )
        return manifest


def _row(line: bytes) -> Row:
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError) as error:
        raise OperatorError("bad_backup", "The backup holds a row that cannot be read. Take another copy.") from error


def _differs(tables: Mapping[str, Digest], name: str, rows: int, sum: str) -> bool:
    digest = tables.get(name, Digest())
    return (digest.rows, digest.sum) != (rows, sum)


def _read(content: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(content):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        yield chunk
