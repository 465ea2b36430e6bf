"""Published versions of styles; a version never changes but for being retired."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger import drafts
from tasks.ledger.database import Database
from tasks.ledger.rows import DraftRow, StyleRow, row_as
from tasks.ledger.tables import style_versions


@dataclass(frozen=True, slots=True)
class Styles:
    """Styles as the ledger knows them; built-in ones lie in folders and are not here."""

    database: Database

    def publish(
        self, draft: DraftRow, sha256: str, least: int, now: float, place: Callable[[int], Mapping[str, Any]]
    ) -> StyleRow:
        """A draft becomes the next version, `least` or higher; the content of the newest again is no change.

        `place` puts the files of that version in their place and says what stands in its style.toml; it runs last, while
        nobody else can publish. Raises `draft_changed`, `unknown_style`, and what `place` raises; then nothing is written.
        """
        with self.database.write() as connection:
            self.database.in_line(connection, draft.id)
            drafts.take(connection, draft.id, draft.edition)
            there = sa.select(style_versions).where(style_versions.c.id == draft.id)
            newest = connection.execute(there.order_by(style_versions.c.version.desc()).limit(1)).first()
            if newest is not None and newest.retired is None and newest.sha256 == sha256:
                return row_as(StyleRow, newest)
            number = max(least, 1 if newest is None else newest.version + 1)
            row = StyleRow(draft.id, number, dict(place(number)), sha256, now)
            connection.execute(sa.insert(style_versions).values(asdict(row)))
            return row

    def get(self, id: str, version: int | None = None) -> StyleRow:
        """A version of a style, retired or not; without a number the newest that is not. Raises `unknown_style`."""
        row = self.find(id, version)
        if row is None:
            raise UserError("unknown_style", f"There is no style {id[:64]!r}.")
        return row

    def find(self, id: str, version: int | None = None) -> StyleRow | None:
        """The same, or None where there is none."""
        chosen = sa.select(style_versions).where(style_versions.c.id == id)
        if version is None:
            chosen = chosen.where(style_versions.c.retired.is_(None)).order_by(style_versions.c.version.desc())
        else:
            chosen = chosen.where(style_versions.c.version == version)
        with self.database.read() as connection:
            row = connection.execute(chosen.limit(1)).first()
            return None if row is None else row_as(StyleRow, row)

    def list(self, retired: bool = False) -> Sequence[StyleRow]:
        """Every version, those that are retired only if told, by name and number."""
        with self.database.read() as connection:
            chosen = sa.select(style_versions) if retired else sa.select(style_versions).where(_offered())
            rows = connection.execute(chosen.order_by(style_versions.c.id, style_versions.c.version))
            return [row_as(StyleRow, row) for row in rows]

    def versions(self, id: str) -> Sequence[StyleRow]:
        """Every version of a style, the newest first."""
        with self.database.read() as connection:
            chosen = sa.select(style_versions).where(style_versions.c.id == id)
            return [
                row_as(StyleRow, row) for row in connection.execute(chosen.order_by(style_versions.c.version.desc()))
            ]

    def retire(self, id: str, version: int | None, now: float) -> Sequence[StyleRow]:
        """Offer one version no more, or without a number none; what was drawn with it can be drawn again.

        Those that were offered until now. Raises `unknown_style`.
        """
        meant = style_versions.c.id == id
        if version is not None:
            meant &= style_versions.c.version == version
        with self.database.write() as connection:
            if connection.execute(sa.select(style_versions.c.id).where(meant)).first() is None:
                raise UserError("unknown_style", f"There is no such version of the style {id[:64]!r}.")
            gone = sa.update(style_versions).where(meant, _offered()).values(retired=now).returning(style_versions)
            return [row_as(StyleRow, row) for row in connection.execute(gone).all()]


def _offered() -> sa.ColumnElement[bool]:
    return style_versions.c.retired.is_(None)
