"""Published versions of styles; a version never changes but for being retired."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.store.database import Database
from tasks.store.rows import StyleRow, row_as
from tasks.store.tables import style_versions


@dataclass(frozen=True, slots=True)
class Styles:
    """Styles as the ledger knows them; built-in ones lie in folders and are not here."""

    database: Database

    def publish(self, id: str, version: int, content: Mapping[str, Any], sha256: str, now: float) -> StyleRow:
        """A new version; the same content again is no change, another under the same number raises `style_taken`."""
        row = StyleRow(id, version, dict(content), sha256, now)
        with self.database.write() as connection:
            there = connection.execute(sa.select(style_versions).where(_is(id, version))).first()
            if there is None:
                connection.execute(sa.insert(style_versions).values(asdict(row)))
                return row
            if there.sha256 != sha256:
                raise UserError("style_taken", f"Version {version} of the style {id} exists. Give it a new number.")
            return row_as(StyleRow, there)

    def get(self, id: str, version: int | None = None) -> StyleRow:
        """A version of a style, retired or not; without a number the newest that is not. Raises `unknown_style`."""
        chosen = sa.select(style_versions).where(style_versions.c.id == id)
        if version is None:
            chosen = chosen.where(style_versions.c.retired.is_(None)).order_by(style_versions.c.version.desc())
        else:
            chosen = chosen.where(style_versions.c.version == version)
        with self.database.read() as connection:
            row = connection.execute(chosen.limit(1)).first()
        if row is None:
            raise UserError("unknown_style", f"There is no style {id[:64]!r}.")
        return row_as(StyleRow, row)

    def list(self) -> Sequence[StyleRow]:
        """Every version that is not retired, by name and number."""
        with self.database.read() as connection:
            chosen = sa.select(style_versions).where(style_versions.c.retired.is_(None))
            rows = connection.execute(chosen.order_by(style_versions.c.id, style_versions.c.version))
            return [row_as(StyleRow, row) for row in rows]

    def retire(self, id: str, version: int, now: float) -> StyleRow:
        """Offer it no more; what was drawn with it can be drawn again."""
        with self.database.write() as connection:
            connection.execute(sa.update(style_versions).where(_is(id, version)).values(retired=now))
        return self.get(id, version)


def _is(id: str, version: int) -> sa.ColumnElement[bool]:
    return (style_versions.c.id == id) & (style_versions.c.version == version)
