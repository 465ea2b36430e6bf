"""Erases again what a journal says must not come back, after an older copy of ledger and files was restored.

Every step can be done twice: what is not there any more is passed over.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from portrait.errors import OperatorError
from tasks import accounts
from tasks.erasing import finish_erasure
from tasks.files import Files
from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import ErasureRow, Kind
from tasks.ledger.privacy.journal import ErasureJournal, JournalEntry, name_hash
from tasks.ledger.privacy.removal import ErasedIds
from tasks.ledger.tables import api_keys, consents, erasures, metadata, owners

BATCH = 100
"""Entries of a journal that are looked up at once."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was done again."""

    entries: int
    """Of the journals."""
    erased: int
    """Erasures of which something had come back."""
    owners: int
    """Accounts that were removed again."""
    consents: int
    """Consents that were withdrawn again."""
    keys: int
    """Keys that were revoked again."""
    pending: int
    """Erasures whose files the keeper has yet to erase."""


def replay(ledger: Ledger, files: Files, journals: Sequence[Path]) -> Replayed:
    """Do every entry of the journals again, and take them into the journal of this installation.

    Raises `OperatorError` (`bad_journal`, `no_journal` where a file is not there).
    """
    require_files(journals)
    if ledger.journal is not None:  # a still older backup may be restored some day
        ledger.journal.merge(entries_of(journals))
    done = [each for entry in entries_of(journals) for each in _Replaying(ledger, files).repeat(entry)]
    accounts.forget_removed(ledger, files)
    entries = sum(1 for _ in entries_of(journals))
    return Replayed(entries, *(done.count(what) for what in ("erasure", "owner", "consent", "key", "pending")))


def require_files(journals: Iterable[Path]) -> None:
    """Raise `OperatorError` (`no_journal`) for a journal that is not there."""
    for path in journals:
        if not path.is_file():
            raise OperatorError("no_journal", f"There is no journal of erasures at {path}. Name a copy of it.")


def entries_of(journals: Iterable[Path]) -> Iterator[JournalEntry]:
    """Yield the entries of several journals; raises `OperatorError` (`bad_journal`)."""
    for path in journals:
        yield from ErasureJournal(path).entries()


def count_returned(database: Database, journals: Iterable[Path]) -> int:
    """Count the entries of journals of which something is there, as after a restore without them."""
    entries, count = iter(entries_of(journals)), 0
    with database.snapshot() as connection:
        while batch := list(islice(entries, BATCH)):
            there = _there(connection, batch)
            count += sum(not there.isdisjoint(_named(entry)) for entry in batch)
    return count


def _there(connection: sa.Connection, entries: Sequence[JournalEntry]) -> set[str]:
    """Which of the ids that entries name are there, of consents and keys those that hold."""
    holding = {"consent": (consents, consents.c.withdrawn), "key": (api_keys, api_keys.c.revoked)}
    there: set[str] = set()
    for kind, (table, ended) in holding.items():
        ids = [entry.id for entry in entries if entry.kind == kind]
        there |= set(connection.scalars(sa.select(table.c.id).where(table.c.id.in_(ids), ended.is_(None))))
    for name in ErasedIds.__dataclass_fields__:
        table = api_keys if name == "keys" else metadata.tables[name]
        ids = [id for entry in entries for id in entry.ids.get(name, ())]
        there |= set(connection.scalars(sa.select(table.c.id).where(table.c.id.in_(ids))))
    return there


def _named(entry: JournalEntry) -> set[str]:
    return {entry.id, *(id for ids in entry.ids.values() for id in ids)}


@dataclass(frozen=True, slots=True)
class _Replaying:
    ledger: Ledger
    files: Files

    def repeat(self, entry: JournalEntry) -> Iterator[str]:
        """Do one entry again; yields what of it was to do, in the words of `Replayed`."""
        if entry.kind == "consent":
            yield from self._end(consents, consents.c.withdrawn, entry)
        elif entry.kind == "key":
            yield from self._end(api_keys, api_keys.c.revoked, entry)
        elif not self.ledger.erasures.existing(erasures, [entry.id]):  # else it was done before the backup
            ids = ErasedIds(**{name: ids for name, ids in entry.ids.items() if name in ErasedIds.__dataclass_fields__})
            erasure = self.ledger.erasures.repeat(cast(Kind, entry.kind), ids, self.ledger.now())
            if erasure is not None:
                yield from ("erasure", *self._finish(erasure))
            if entry.removed and (owner := self._owner(entry)):
                yield from ("owner", *self._finish(accounts.remove(self.ledger, owner, None, self.ledger.now())))

    def _end(self, table: sa.Table, column: "sa.Column[Any]", entry: JournalEntry) -> Iterator[str]:
        """Withdraw a consent or revoke a key."""
        holds = sa.update(table).where(table.c.id == entry.id, column.is_(None)).values({column.name: entry.at})
        with self.ledger.database.write() as connection:
            if connection.execute(holds).rowcount:
                yield entry.kind

    def _owner(self, entry: JournalEntry) -> str | None:
        """The name of the account that was removed; not of one that was made under that name since."""
        chosen = sa.select(owners.c.id).where(owners.c.created <= entry.at)
        with self.ledger.database.read() as connection:
            return next((name for name in connection.scalars(chosen) if name_hash(name) == entry.owner), None)

    def _finish(self, erasure: ErasureRow) -> Iterator[str]:
        if finish_erasure(self.ledger, self.files, erasure, self.ledger.now()).done is None:
            yield "pending"
