"""Published versions of styles, and the drafts that operators work on.

A version never changes but for being retired. Of two changes made to the same edition of a draft, the second is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.rows import DraftFindings, DraftRow, Repository, StyleRow, row_as
from tasks.ledger.tables import style_drafts, style_versions


class StyleRepository(Repository):
    """Published versions of styles; built-in styles lie in folders and are not here."""

    def publish(
        self, draft: DraftRow, sha256: str, least: int, now: float, place: Callable[[int], Mapping[str, Any]]
    ) -> StyleRow:
        """Turn a draft into the next version, `least` or higher; the same content as the newest gives that one again.

        `place` moves the files of that version into place and returns the content of its style.toml; it runs last, while
        nobody else can publish. Raises `draft_changed`, `unknown_style`, and what `place` raises; then nothing is written.
        """
        with self.database.write() as connection:
            self.database.lock_owner(connection, draft.id)
            delete_draft(connection, draft.id, draft.edition)
            there = sa.select(style_versions).where(style_versions.c.id == draft.id)
            newest = connection.execute(there.order_by(style_versions.c.version.desc()).limit(1)).first()
            if newest is not None and newest.retired is None and newest.sha256 == sha256:
                return row_as(StyleRow, newest)
            number = max(least, 1 if newest is None else newest.version + 1)
            row = StyleRow(draft.id, number, dict(place(number)), sha256, now)
            connection.execute(sa.insert(style_versions).values(asdict(row)))
            return row

    def get(self, id: str, version: int | None = None) -> StyleRow:
        """Return a version of a style, retired or not; without a number the newest that is not. Raises `unknown_style`."""
        row = self.find(id, version)
        if row is None:
            raise UserError("unknown_style", f"There is no style {id[:64]!r}.")
        return row

    def find(self, id: str, version: int | None = None) -> StyleRow | None:
        """Return the version that `get` returns, or None when there is none."""
        if version is None:
            return self._find(StyleRow, _NEWEST, of_id=id)
        return self._find(StyleRow, _VERSION, of_id=id, of_version=version)

    def list(self, retired: bool = False) -> Sequence[StyleRow]:
        """Every version by id and number; retired ones only with `retired`."""
        chosen = sa.select(style_versions) if retired else sa.select(style_versions).where(_not_retired())
        return self._all(StyleRow, chosen.order_by(style_versions.c.id, style_versions.c.version))

    def versions(self, id: str) -> Sequence[StyleRow]:
        """Every version of a style, the newest first."""
        chosen = sa.select(style_versions).where(style_versions.c.id == id)
        return self._all(StyleRow, chosen.order_by(style_versions.c.version.desc()))

    def retire(self, id: str, version: int | None, now: float) -> Sequence[StyleRow]:
        """Retire one version, or without a number all; its files stay, so that its portraits can be drawn again.

        Returns the versions that were not retired before. Raises `unknown_style`.
        """
        meant = style_versions.c.id == id
        if version is not None:
            meant &= style_versions.c.version == version
        with self.database.write() as connection:
            if connection.execute(sa.select(style_versions.c.id).where(meant)).first() is None:
                raise UserError("unknown_style", f"There is no such version of the style {id[:64]!r}.")
            retired = sa.update(style_versions).where(meant, _not_retired()).values(retired=now)
            return [row_as(StyleRow, row) for row in connection.execute(retired.returning(style_versions)).all()]


def _not_retired() -> sa.ColumnElement[bool]:
    return style_versions.c.retired.is_(None)


# Made once: to put a statement together takes longer than to have it answered.
_OF_ID = sa.select(style_versions).where(style_versions.c.id == sa.bindparam("of_id"))
_NEWEST = _OF_ID.where(_not_retired()).order_by(style_versions.c.version.desc()).limit(1)
_VERSION = _OF_ID.where(style_versions.c.version == sa.bindparam("of_version"))


class DraftRepository(Repository):
    """Drafts of styles, at most one for each style."""

    def get(self, id: str) -> DraftRow:
        """One draft; raises `unknown_style`."""
        found = self.find(id)
        if found is None:
            raise UserError("unknown_style", f"There is no draft of a style {id[:64]!r}.")
        return found

    def find(self, id: str) -> DraftRow | None:
        """One draft, or None when there is none."""
        return self._find(DraftRow, sa.select(style_drafts).where(style_drafts.c.id == id))

    def list(self) -> Sequence[DraftRow]:
        """Every draft, by id."""
        return self._all(DraftRow, sa.select(style_drafts).order_by("id"))

    def add(self, rows: Sequence[DraftRow], place: Callable[[], None], replacing: bool = False) -> Sequence[DraftRow]:
        """Insert drafts, all of them or none; `place` moves their folders into place.

        Returns the drafts that were replaced with `replacing`; without it raises `style_exists`.
        """
        replaced: list[DraftRow] = []
        with self.database.write() as connection:
            for row in rows:
                self.database.lock_owner(connection, row.id)
                present = connection.execute(sa.select(style_drafts).where(style_drafts.c.id == row.id)).first()
                if present is None:
                    continue
                if not replacing:
                    raise UserError(
                        "style_exists",
                        f"There is a draft of the style {row.id} already. Publish or remove it first, or choose another id.",
                    )
                connection.execute(sa.delete(style_drafts).where(style_drafts.c.id == row.id))
                replaced.append(row_as(DraftRow, present))
            connection.execute(sa.insert(style_drafts), [asdict(row) for row in rows])
            place()
        return replaced

    def record_findings(self, findings: DraftFindings) -> None:
        """Store the results of a check or test of a draft."""
        with self.database.write() as connection:
            record_findings(connection, findings)

    def forget_tests_of(self, person: str) -> Sequence[str]:
        """Forget the tests that have drawn a person of an operator's own; returns the ids of their drafts."""
        with self.database.write() as connection:
            tested = sa.select(style_drafts.c.id, style_drafts.c.tested).where(style_drafts.c.tested.is_not(None))
            drawn = [
                row.id
                for row in connection.execute(tested)
                if any(each.get("person") == person for each in row.tested["samples"])
            ]
            connection.execute(sa.update(style_drafts).where(style_drafts.c.id.in_(drawn)).values(tested=None))
            return drawn

    def change(self, row: DraftRow, before: str, place: Callable[[], None]) -> None:
        """Replace the edition `before` by another; raises `draft_changed`."""
        with self.database.write() as connection:
            changed = sa.update(style_drafts).where(_is_edition(row.id, before)).values(asdict(row))
            if connection.execute(changed).rowcount == 0:
                raise draft_changed_error()
            place()

    def remove(self, id: str, edition: str) -> None:
        """Delete a draft; raises `draft_changed`."""
        with self.database.write() as connection:
            delete_draft(connection, id, edition)


def delete_draft(connection: sa.Connection, id: str, edition: str) -> None:
    """Delete a draft; raises `draft_changed`."""
    if connection.execute(sa.delete(style_drafts).where(_is_edition(id, edition))).rowcount == 0:
        raise draft_changed_error()


def record_findings(connection: sa.Connection, findings: DraftFindings) -> None:
    """Store the results of a check or test; a draft that was changed or published since is left as it is."""
    results = {"checked": findings.checked, "tested": findings.tested}
    values = {name: value for name, value in results.items() if value is not None}
    if values:
        connection.execute(sa.update(style_drafts).where(_is_edition(findings.id, findings.edition)).values(values))


def draft_changed_error() -> UserError:
    """Return the `draft_changed` error of a change to an edition that is not the newest."""
    return UserError(
        "draft_changed",
        "Somebody else changed, published or removed this draft meanwhile. Read it again, and send your change anew.",
    )


def _is_edition(id: str, edition: str) -> sa.ColumnElement[bool]:
    return (style_drafts.c.id == id) & (style_drafts.c.edition == edition)
