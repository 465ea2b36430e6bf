"""Delivered portraits, and the pictures that owners upload to have people put into them."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.rows import Page, PortraitRow, Repository, TemplateRow, get_owned, row_as
from tasks.ledger.tables import job_people, portraits, templates


@dataclass(frozen=True, slots=True)
class PortraitFilter:
    """Conditions on portraits; an empty field is no condition."""

    person: str = ""
    job: str = ""
    favourite: bool = False


class PortraitRepository(Repository):
    """Delivered portraits."""

    def get(self, owner: str, id: str) -> PortraitRow:
        """One portrait; raises `not_found`, `erased`."""
        return self._owned(PortraitRow, portraits, owner, id)

    def list(
        self, owner: str, wanted: PortraitFilter = PortraitFilter(), cursor: str | None = None, limit: int = 50
    ) -> Page[PortraitRow]:
        """The owner's portraits that fit the filter, the newest first."""
        chosen = sa.select(portraits).where(portraits.c.owner == owner)
        if wanted.person:
            of_person = sa.select(job_people.c.job).where(job_people.c.person == wanted.person)
            chosen = chosen.where(portraits.c.job.in_(of_person))
        if wanted.job:
            chosen = chosen.where(portraits.c.job == wanted.job)
        if wanted.favourite:
            chosen = chosen.where(portraits.c.favourite.is_(True))
        return self._page(partial(row_as, PortraitRow), chosen, cursor, limit)

    def get_many(self, owner: str, ids: Collection[str]) -> Sequence[PortraitRow]:
        """The owner's portraits with these ids, for a zip; raises `not_found`, `erased` for the first that is missing."""
        with self.database.read() as connection:
            return [row_as(PortraitRow, get_owned(connection, portraits, owner, each)) for each in ids]

    def set_favourite(self, owner: str, id: str, favourite: bool) -> PortraitRow:
        """Mark or unmark a portrait as a favourite."""
        return self._change_owned(PortraitRow, portraits, owner, id, favourite=favourite)

    def delete(self, owner: str, id: str, now: float) -> PortraitRow:
        """Delete a portrait's row and return it; the caller erases its file."""
        return self._erase_owned(PortraitRow, portraits, owner, id, now)


class TemplateRepository(Repository):
    """Pictures that owners uploaded to have people put into them; published styles are in `styles`."""

    def add(self, row: TemplateRow, most: int) -> TemplateRow:
        """Insert a picture; raises `too_many_templates` beyond `most`."""
        with self.database.write() as connection:
            self.database.lock_owner(connection, row.owner)
            mine = sa.select(sa.func.count()).where(templates.c.owner == row.owner)
            if (connection.scalar(mine) or 0) >= most:
                raise UserError("too_many_templates", f"There can be {most} pictures at most. Delete one first.")
            connection.execute(sa.insert(templates).values(asdict(row)))
        return row

    def get(self, owner: str, id: str) -> TemplateRow:
        """One picture; raises `not_found`, `erased`."""
        return self._owned(TemplateRow, templates, owner, id)

    def list(self, owner: str, cursor: str | None = None, limit: int = 50) -> Page[TemplateRow]:
        """The owner's pictures, the newest first."""
        mine = sa.select(templates).where(templates.c.owner == owner)
        return self._page(partial(row_as, TemplateRow), mine, cursor, limit)

    def delete(self, owner: str, id: str, now: float) -> TemplateRow:
        """Delete a picture's row and return it; the caller erases its file."""
        return self._erase_owned(TemplateRow, templates, owner, id, now)

    def created_before(self, time: float, limit: int = 100) -> Sequence[TemplateRow]:
        """Pictures that were uploaded before `time`, the oldest first."""
        chosen = sa.select(templates).where(templates.c.created < time).order_by(templates.c.created)
        return self._all(TemplateRow, chosen.limit(limit))
