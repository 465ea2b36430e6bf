"""The file of a backup: a tar that anybody can unpack, written and read in one pass with a bounded part in memory.

ledger/TABLE/000001.jsonl … (rows as lines of JSON) · data/… (the data folder) · marks/… (keys of marks, where asked for) ·
files.sha256 (for `sha256sum -c`) · manifest.json: what all of it is; a file without it, at its end, is not complete.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pipelines.folders import atomic
from portrait.errors import OperatorError, UserError

FORMAT = 1
MANIFEST, SUMS = "manifest.json", "files.sha256"
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TableSummary:
    """What a backup has of a table."""

    rows: int
    sum: str
    """As `tasks.ledger.upkeep.tables.Digest.sum`."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds."""

    program: str
    """The version that made it."""
    schema: str
    """The revision of the ledger's schema."""
    database: str
    """`sqlite` or `postgresql`, from which the rows came."""
    taken: float
    """When the ledger was as it is in here, seconds since 1970."""
    tables: Mapping[str, TableSummary]
    numbers: Mapping[str, int]
    """The highest id that was ever given out, of each table that numbers its rows."""
    files: int
    bytes: int
    """Of all files."""
    sums: str
    """SHA-256 of `files.sha256`."""
    erasure: str = ""
    """The newest erasure that the ledger knew; empty for none."""
    marks: bool = False
    format: int = FORMAT
    unread: int = 0
    """Files that were erased after they were listed."""


@dataclass(slots=True)
class _Reading:
    """A file that is hashed as it is read."""

    file: IO[bytes]
    digest: Any = field(default_factory=hashlib.sha256)

    def read(self, size: int = -1) -> bytes:
        chunk = self.file.read(size)
        self.digest.update(chunk)
        return chunk


class ArchiveWriter:
    """Writes a backup into an open file."""

    def __init__(self, file: IO[bytes], sums: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 -- `close` closes it
        self._sums = sums
        """A temporary file that `files.sha256` grows in."""
        self.files = self.bytes = 0

    def add_bytes(self, name: str, content: bytes) -> None:
        """Add a file that is in memory."""
        self._add(_member(name, len(content)), io.BytesIO(content))

    def add_file(self, name: str, path: Path, changed: float) -> bool:
        """Add a file with its SHA-256; False where it was erased in the meantime. Raises `OSError`."""
        try:
            opened = path.open("rb")
        except FileNotFoundError:
            return False
        with opened as file:
            end = file.seek(0, io.SEEK_END)
            file.seek(0)
            reading = _Reading(file)
            self._add(_member(name, end, changed), reading)
        self._sums.write(sum_line(reading.digest.hexdigest(), name))
        self.files += 1
        self.bytes += end
        return True

    def add_sums(self) -> str:
        """Add `files.sha256`; returns its own SHA-256."""
        size = self._sums.seek(0, io.SEEK_END)
        self._sums.seek(0)
        reading = _Reading(self._sums)
        self._add(_member(SUMS, size), reading)
        return reading.digest.hexdigest()

    def close(self, manifest: Manifest) -> None:
        """Add the manifest, and end the file."""
        self.add_bytes(MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
        self._tar.close()

    def _add(self, member: tarfile.TarInfo, content: Any) -> None:
        self._tar.addfile(member, content)
        _forget_members(self._tar)


def sum_line(sha256: str, name: str) -> bytes:
    """Return a line of `files.sha256`."""
    return f"{sha256}  {name}\n".encode()


@contextmanager
def open_archive(path: Path) -> Iterator[Iterator[tuple[tarfile.TarInfo, IO[bytes]]]]:
    """Give the members of a backup in order, each with its content, to be read before the next one is asked for.

    Raises `OperatorError` (`bad_backup`) for what is no backup, is cut off or names files outside of it, `no_permission`,
    `UserError` (`not_found`).
    """
    if not path.is_file():
        raise UserError("not_found", f"There is no file {path}.")
    try:
        with atomic.reported_reading(path), tarfile.open(path, mode="r|") as tar:
            yield _members(tar)
    except (tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        raise OperatorError(
            "bad_backup", f"{path} is no backup, or it is cut off: {error}. Take another copy."
        ) from error


def read_manifest(content: bytes) -> Manifest:
    """Read a manifest; raises `OperatorError` (`bad_backup`)."""
    try:
        values = json.loads(content)
        if values["format"] != FORMAT:
            sentence = (
                f"The backup has format {values['format']}, this program reads {FORMAT}. Restore with a newer program."
            )
            raise OperatorError("bad_backup", sentence)
        tables = {name: TableSummary(**each) for name, each in values.pop("tables").items()}
        return Manifest(tables=tables, **values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OperatorError("bad_backup", "The manifest of the backup cannot be read. Take another copy.") from error


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    while (member := tar.next()) is not None:
        content = tar.extractfile(member) if member.isfile() else None
        place = PurePosixPath(member.name)
        if content is None or place.is_absolute() or ".." in place.parts:
            raise OperatorError(
                "bad_backup", f"The backup holds {member.name!r}, which no backup does. Take another copy."
            )
        yield member, content
        _forget_members(tar)


def _forget_members(tar: tarfile.TarFile) -> None:
    """Keep no list of members, which would hold the names of a million files."""
    tar.members.clear()  # pyrefly: ignore[missing-attribute] -- typeshed does not know it


def _member(name: str, size: int, changed: float = 0.0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, int(changed), 0o600
    return member
