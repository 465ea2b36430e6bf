"""Deletion that can be undone: what is deleted is hidden at once, and erased when the time to restore it is over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.access.audit import AuditRepository
from tasks.ledger.privacy.erasures import AUDITED, ErasureRepository, ErasureRow, Request
from tasks.ledger.rows import Repository, get_owned, there
from tasks.ledger.tables import portraits, selfies, templates
from tasks.schemas.shared import UNDO_SECONDS

RemovedKind: TypeAlias = Literal["selfie", "template", "portrait"]
_TABLES: Mapping[RemovedKind, sa.Table] = {"selfie": selfies, "template": templates, "portrait": portraits}


@dataclass(frozen=True, slots=True)
class Removed:
    """What was deleted and is not erased yet."""

    kind: RemovedKind
    id: str
    owner: str


class UndoRepository(Repository):
    """What was deleted and can be restored until it is erased."""

    def remove(self, request: Request, kind: RemovedKind, id: str) -> None:
        """Hide something at once; raises `not_found` (also where it was deleted already), `erased`."""
        table = _TABLES[kind]
        with self.database.write() as connection:
            self.database.lock_owner(connection, request.owner)
            get_owned(connection, table, request.owner, id)
            connection.execute(sa.update(table).where(table.c.id == id).values(removed=request.now))
            self._audit(connection, request, f"{kind}.removed", kind, id)

    def restore(self, request: Request, kind: RemovedKind, id: str, most: int | None = None) -> None:
        """Show something again that was deleted, or leave what was not.

        Raises `erased` when it is too late, `not_found`, and where there are `most` by now `too_many_photos`,
        `too_many_templates`.
        """
        table = _TABLES[kind]
        with self.database.write() as connection:
            self.database.lock_owner(connection, request.owner)
            row = get_owned(connection, table, request.owner, id, removed=True)
            if row.removed is None:
                return
            if most is not None:
                _require_room(connection, kind, row, most)
            connection.execute(sa.update(table).where(table.c.id == id).values(removed=None))
            self._audit(connection, request, f"{kind}.restored", kind, id)

    def due(self, now: float, limit: int = 100) -> Sequence[Removed]:
        """What was deleted too long ago to be restored, of each kind the oldest first."""
        found: list[Removed] = []
        with self.database.read() as connection:
            for kind, table in _TABLES.items():
                chosen = sa.select(table.c.id, table.c.owner).where(table.c.removed <= now - UNDO_SECONDS)
                rows = connection.execute(chosen.order_by(table.c.removed).limit(limit))
                found += [Removed(kind, row.id, row.owner) for row in rows]
        return found

    def erase(self, removed: Removed, now: float) -> ErasureRow | None:
        """Erase it in a transaction in which it is still due; None where it was restored or erased meanwhile."""
        table, erasures = _TABLES[removed.kind], ErasureRepository(self.database)
        request = Request(removed.owner, now)
        with self.database.write() as connection:
            self.database.lock_owner(connection, removed.owner)
            due = sa.select(table.c.id).where(table.c.id == removed.id, table.c.removed <= now - UNDO_SECONDS)
            if connection.scalar(due.with_for_update()) is None:
                return None
            if removed.kind == "selfie":
                return erasures.erase_selfie(request, removed.id, connection=connection)
            if removed.kind == "template":
                return erasures.erase_template(request, removed.id, connection=connection)
            return erasures.erase_portrait(request, removed.id, connection=connection)

    def _audit(self, connection: sa.Connection, request: Request, action: str, kind: RemovedKind, id: str) -> None:
        if kind in AUDITED:
            AuditRepository(self.database).add(request.actor, action, id, {}, request.now, connection)


def _require_room(connection: sa.Connection, kind: RemovedKind, row: sa.Row[tuple[object, ...]], most: int) -> None:
    table = _TABLES[kind]
    others = table.c.person == row.person if kind == "selfie" else table.c.owner == row.owner
    if (connection.scalar(sa.select(sa.func.count()).where(others, there(table))) or 0) >= most:
        code = "too_many_photos" if kind == "selfie" else "too_many_templates"
        raise UserError(code, f"Others took its place: there can be {most} at most. Delete one first.")
