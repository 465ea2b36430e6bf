"""Delivered portraits."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tasks.ledger.database import Database
from tasks.ledger.rows import Page, PortraitRow, bury, one, page_of, row_as
from tasks.ledger.tables import job_people, portraits


@dataclass(frozen=True, slots=True)
class Which:
    """Some of the portraits: empty means all."""

    person: str = ""
    job: str = ""
    favourite: bool = False


@dataclass(frozen=True, slots=True)
class Portraits:
    """The gallery."""

    database: Database

    def get(self, owner: str, id: str) -> PortraitRow:
        """One portrait; raises `not_found`, `erased`."""
        with self.database.read() as connection:
            return row_as(PortraitRow, one(connection, portraits, owner, id))

    def list(
        self, owner: str, which: Which | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[PortraitRow]:
        """The owner's portraits, the newest first; only some of them, if told."""
        wanted = which or Which()
        chosen = sa.select(portraits).where(portraits.c.owner == owner)
        if wanted.person:
            of_person = sa.select(job_people.c.job).where(job_people.c.person == wanted.person)
            chosen = chosen.where(portraits.c.job.in_(of_person))
        if wanted.job:
            chosen = chosen.where(portraits.c.job == wanted.job)
        if wanted.favourite:
            chosen = chosen.where(portraits.c.favourite.is_(True))
        with self.database.read() as connection:
            return page_of(connection, PortraitRow, chosen, cursor, limit)

    def some(self, owner: str, ids: Collection[str]) -> Sequence[PortraitRow]:
        """Those of the owner's portraits that are named, for a zip; raises `not_found`, `erased` for the first that is not."""
        with self.database.read() as connection:
            return [row_as(PortraitRow, one(connection, portraits, owner, each)) for each in ids]

    def mark(self, owner: str, id: str, favourite: bool) -> PortraitRow:
        """Make it a favourite, or not."""
        with self.database.write() as connection:
            one(connection, portraits, owner, id)
            connection.execute(sa.update(portraits).where(portraits.c.id == id).values(favourite=favourite))
            return row_as(PortraitRow, one(connection, portraits, owner, id))

    def delete(self, owner: str, id: str, now: float) -> PortraitRow:
        """Forget one; its file is the caller's to erase."""
        with self.database.write() as connection:
            gone = row_as(PortraitRow, one(connection, portraits, owner, id))
            connection.execute(sa.delete(portraits).where(portraits.c.id == id))
            bury(connection, owner, "portrait", [id], now)
            return gone
