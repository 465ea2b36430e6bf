"""Delivered portraits, and the pictures that owners upload to have people put into them."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger import usage
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


class TemplateRepository(Repository):
    """Pictures that owners uploaded to have people put into them; published styles are in `styles`."""

    def add(self, row: TemplateRow, most: int, pixels_a_day: int = usage.UNLIMITED) -> TemplateRow:
        """Insert a picture; raises `too_many_templates` beyond `most`, `quota_pixels` beyond what the owner may add a day."""
        with self.database.write() as connection:
            self.database.lock_owner(connection, row.owner)
            _require_room(connection, row.owner, most)
            usage.charge_pixels(connection, row.owner, row.width * row.height, pixels_a_day, row.created)
            connection.execute(sa.insert(templates).values(asdict(row)))
        return row

    def require_room(self, owner: str, most: int) -> None:
        """Raise `too_many_templates` for an owner who has `most` pictures."""
        with self.database.read() as connection:
            _require_room(connection, owner, most)

    def get(self, owner: str, id: str) -> TemplateRow:
        """One picture; raises `not_found`, `erased`."""
        return self._owned(TemplateRow, templates, owner, id)

    def list(self, owner: str, cursor: str | None = None, limit: int = 50) -> Page[TemplateRow]:
        """The owner's pictures, the newest first."""
        mine = sa.select(templates).where(templates.c.owner == owner)
        return self._page(partial(row_as, TemplateRow), mine, cursor, limit)

    def state(self, owner: str, id: str, version: str) -> TemplateRow:
        """Note the statement that the people on a picture agreed, by the version of its text."""
        return self._change_owned(TemplateRow, templates, owner, id, statement=version)


def _require_room(connection: sa.Connection, owner: str, most: int) -> None:
    mine = sa.select(sa.func.count()).where(templates.c.owner == owner)
    if (connection.scalar(mine) or 0) >= most:
        raise UserError("too_many_templates", f"There can be {most} pictures at most. Delete one first.")
