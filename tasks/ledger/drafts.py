"""Styles that operators work on; of two changes made on the same edition, the second is refused."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.database import Database
from tasks.ledger.rows import DraftNews, DraftRow, row_as
from tasks.ledger.tables import style_drafts


@dataclass(frozen=True, slots=True)
class Drafts:
    """Drafts as the ledger knows them, one for each style at most."""

    database: Database

    def get(self, id: str) -> DraftRow:
        """One draft; raises `unknown_style`."""
        found = self.find(id)
        if found is None:
            raise UserError("unknown_style", f"There is no draft of a style {id[:64]!r}.")
        return found

    def find(self, id: str) -> DraftRow | None:
        """One draft, or None where nobody works on the style."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(style_drafts).where(style_drafts.c.id == id)).first()
            return None if row is None else row_as(DraftRow, row)

    def list(self) -> Sequence[DraftRow]:
        """Every draft, by name."""
        with self.database.read() as connection:
            return [row_as(DraftRow, row) for row in connection.execute(sa.select(style_drafts).order_by("id"))]

    def add(self, rows: Sequence[DraftRow], place: Callable[[], None], replacing: bool = False) -> Sequence[DraftRow]:
        """New drafts, all of them or none; `place` moves their folders in.

        Those that were replaced, if told to; otherwise raises `style_exists`.
        """
        gone: list[DraftRow] = []
        with self.database.write() as connection:
            for row in rows:
                self.database.in_line(connection, row.id)
                there = connection.execute(sa.select(style_drafts).where(style_drafts.c.id == row.id)).first()
                if there is not None and not replacing:
                    raise UserError(
                        "style_exists",
                        f"There is a draft of the style {row.id} already. Publish or remove it first, or choose another id.",
                    )
                if there is not None:
                    connection.execute(sa.delete(style_drafts).where(style_drafts.c.id == row.id))
                    gone.append(row_as(DraftRow, there))
            connection.execute(sa.insert(style_drafts), [asdict(row) for row in rows])
            place()
        return gone

    def hear(self, news: DraftNews) -> None:
        """Write down what was found out about a draft."""
        with self.database.write() as connection:
            hear(connection, news)

    def change(self, row: DraftRow, before: str, place: Callable[[], None]) -> None:
        """Put another edition in the place of `before`; raises `draft_changed`."""
        with self.database.write() as connection:
            values = {name: value for name, value in asdict(row).items() if name != "id"}
            done = connection.execute(sa.update(style_drafts).where(_is(row.id, before)).values(values))
            if done.rowcount == 0:
                raise outdated()
            place()

    def remove(self, id: str, edition: str) -> None:
        """Forget a draft; raises `draft_changed`."""
        with self.database.write() as connection:
            take(connection, id, edition)


def take(connection: sa.Connection, id: str, edition: str) -> None:
    """Forget a draft; raises `draft_changed`."""
    if connection.execute(sa.delete(style_drafts).where(_is(id, edition))).rowcount == 0:
        raise outdated()


def hear(connection: sa.Connection, news: DraftNews) -> None:
    """Write down what a worker found; a draft that was changed or published since is left as it is."""
    told = {"checked": news.checked, "tested": news.tested}
    values = {name: value for name, value in told.items() if value is not None}
    if values:
        connection.execute(sa.update(style_drafts).where(_is(news.id, news.edition)).values(values))


def outdated() -> UserError:
    """Who did not see the last change must not undo it."""
    sentence = (
        "Somebody else changed, published or removed this draft meanwhile. Read it again, and send your change anew."
    )
    return UserError("draft_changed", sentence)


def _is(id: str, edition: str) -> sa.ColumnElement[bool]:
    return (style_drafts.c.id == id) & (style_drafts.c.edition == edition)
