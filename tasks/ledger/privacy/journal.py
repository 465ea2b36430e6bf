"""The journal of erasures: a file outside the backups that says what must not come back out of one.

One line of JSON for each erasure, each withdrawn consent and each revoked key: ids and times, and for an erased account a hash
of its name; no other names. Lines are only ever added. Whoever erases adds its line, and the keeper those of other machines.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import sqlalchemy as sa
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from portrait.errors import OperatorError
from tasks.ledger.database import Database
from tasks.ledger.privacy.erasures import ErasureRow
from tasks.ledger.rows import row_as
from tasks.ledger.tables import api_keys, consents, erasures, owners

OVERLAP = 3600.0
"""Seconds before the newest line that are looked through once more: what began earlier may have been committed later."""
TAIL_BYTES = 4_000_000
"""Bytes at the end of the journal that are read to learn what was noted lately."""
_BEGINNING = b'{"id":"'
"""Of every line."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What must not come back."""

    id: str
    """Of the erasure's receipt, of the consent or of the key."""
    kind: str
    """The kind of an erasure, `consent` for one that was withdrawn, `key` for one that was revoked."""
    at: float
    """Seconds since 1970."""
    ids: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Ids of what was erased, by kind, as in the receipt."""
    owner: str = ""
    """SHA-256 of the name of an account that was erased; empty otherwise."""
    removed: bool = False
    """Whether the account itself was removed, with its name."""


_ENTRY = TypeAdapter(with_config(ConfigDict(strict=True, extra="forbid"))(JournalEntry))


class ErasureJournal:
    """The journal in one file, which many threads and processes add to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, float] = {}
        self._read = 0
        self._lock = threading.Lock()

    def note(self, database: Database, erasure: ErasureRow) -> None:
        """Add an erasure, unless it is there; raises `OSError`."""
        with database.read() as connection:
            self.add([_entry_of(connection, erasure)])

    def update(self, database: Database, since: float | None = None) -> int:
        """Add what the ledger has since then and the journal lacks; returns how many lines. Raises `OSError`.

        Without `since` the whole journal is compared: the keeper does so once, as it starts.
        """
        since = 0.0 if since is None else since - OVERLAP
        with database.read() as connection:
            chosen = sa.select(erasures).where(erasures.c.asked > since).order_by(erasures.c.id)
            entries = [_entry_of(connection, row_as(ErasureRow, row)) for row in connection.execute(chosen)]
            for table, kind, when in (
                (consents, "consent", consents.c.withdrawn),
                (api_keys, "key", api_keys.c.revoked),
            ):
                ended = sa.select(table.c.id, when).where(when > since).order_by(when)
                entries += [JournalEntry(id, kind, at) for id, at in connection.execute(ended)]
        if not self.path.exists():
            self._append("")  # copies of it can be made from the beginning
        return self.add(entries) if since else self.merge(entries)

    def merge(self, entries: Iterable[JournalEntry]) -> int:
        """Append the entries that stand nowhere in the journal; returns how many. Raises `OSError`."""
        noted = {entry.id for entry in self.entries()}
        return self.add([each for each in entries if each.id not in noted])

    def add(self, entries: Sequence[JournalEntry]) -> int:
        """Append the entries that were not noted lately, flushed to the disk; returns how many. Raises `OSError`."""
        with self._lock:
            self._catch_up()
            new = [each for each in entries if each.id not in self._known]
            if new:
                self._append("".join(f"{json.dumps(asdict(each), separators=(',', ':'))}\n" for each in new))
                self._catch_up()
        return len(new)

    def entries(self) -> Iterator[JournalEntry]:
        """Yield every entry, the oldest first; nothing where there is no journal yet.

        A line that a full disk cut off is passed over: it was added once more. Raises `OperatorError` (`bad_journal`) for
        any other line that is no entry.
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                entry = _parse(line)
                if entry is not None:
                    yield entry
                elif not _is_cut_off(line):
                    sentence = (
                        f"Line {number} of {self.path} is no entry of a journal of erasures. Give another copy of it."
                    )
                    raise OperatorError("bad_journal", sentence)

    def _append(self, lines: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o660)
        with os.fdopen(number, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            # What a full disk cut off stays a line of its own, which readers pass over.
            broken = size and os.pread(number, 1, size - 1) != b"\n"
            left = b"\n" * bool(broken) + lines.encode()
            while left:  # a disk that fills takes a part, and refuses the rest
                left = left[file.write(left) :]
            os.fsync(number)

    def _catch_up(self) -> None:
        """Note the ids of lines that were added since the last call, by any process."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < self._read:  # another file took its place
            self._known, self._read = {}, 0
        start = max(self._read, size - TAIL_BYTES)
        if size == start:
            return
        with self.path.open("rb") as file:
            file.seek(start)
            read = file.read(size - start)
        complete = read[: read.rfind(b"\n") + 1]
        self._read = start + len(complete)
        found = [entry for line in complete.splitlines() if (entry := _parse(line)) is not None]
        self._known |= {entry.id: entry.at for entry in found}
        newest = max(self._known.values(), default=0.0)
        # An erasure that waits for a worker's lease is noted again and again for minutes.
        self._known = {id: at for id, at in self._known.items() if at > newest - 24 * OVERLAP}


def name_hash(owner: str) -> str:
    """Return what stands in the journal for the name of an account."""
    return hashlib.sha256(owner.encode()).hexdigest()


def _entry_of(connection: sa.Connection, row: ErasureRow) -> JournalEntry:
    if row.kind != "owner":
        return JournalEntry(row.id, row.kind, row.asked, row.ids)
    there = connection.scalar(sa.select(sa.exists().where(owners.c.id == row.subject)))
    return JournalEntry(row.id, row.kind, row.asked, row.ids, name_hash(row.subject), removed=not there)


def _is_cut_off(line: bytes) -> bool:
    return not line.strip() or (line.startswith(_BEGINNING[: len(line.rstrip())]) and not line.rstrip().endswith(b"}"))


def _parse(line: bytes) -> JournalEntry | None:
    try:
        return _ENTRY.validate_json(line)
    except ValidationError:
        return None
