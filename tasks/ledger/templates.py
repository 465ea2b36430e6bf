"""Pictures that owners bring to have people put into them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.database import Database
from tasks.ledger.rows import Page, TemplateRow, bury, one, page_of, row_as
from tasks.ledger.tables import templates


@dataclass(frozen=True, slots=True)
class Templates:
    """An owner's own pictures; the styles of the house are elsewhere."""

    database: Database

    def add(self, row: TemplateRow, most: int) -> TemplateRow:
        """Keep a picture; raises `too_many_templates` beyond `most`."""
        with self.database.write() as connection:
            self.database.in_line(connection, row.owner)
            mine = sa.select(sa.func.count()).where(templates.c.owner == row.owner)
            if (connection.scalar(mine) or 0) >= most:
                raise UserError("too_many_templates", f"There can be {most} pictures at most. Delete one first.")
            connection.execute(sa.insert(templates).values(asdict(row)))
        return row

    def get(self, owner: str, id: str) -> TemplateRow:
        """One picture; raises `not_found`, `erased`."""
        with self.database.read() as connection:
            return row_as(TemplateRow, one(connection, templates, owner, id))

    def list(self, owner: str, cursor: str | None = None, limit: int = 50) -> Page[TemplateRow]:
        """The owner's pictures, the newest first."""
        with self.database.read() as connection:
            return page_of(
                connection, TemplateRow, sa.select(templates).where(templates.c.owner == owner), cursor, limit
            )

    def delete(self, owner: str, id: str, now: float) -> TemplateRow:
        """Forget one; its file is the caller's to erase."""
        with self.database.write() as connection:
            gone = row_as(TemplateRow, one(connection, templates, owner, id))
            connection.execute(sa.delete(templates).where(templates.c.id == id))
            bury(connection, owner, "template", [id], now)
            return gone

    def unused_since(self, time: float, limit: int = 100) -> Sequence[TemplateRow]:
        """Pictures whose retention time is over."""
        with self.database.read() as connection:
            chosen = sa.select(templates).where(templates.c.created < time).order_by(templates.c.created)
            return [row_as(TemplateRow, row) for row in connection.execute(chosen.limit(limit))]
