"""The audit log: who did what and when, without content; entries are added and after a time pruned, never changed.

An entry names accounts, keys, sessions and things by their ids. Names of people, names of files and words that somebody typed
have no place in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from tasks.ledger.database import new_id
from tasks.ledger.rows import Page, Repository, row_as
from tasks.ledger.tables import audit

SYSTEM = "system"
"""The actor of what the keeper and the terminal do."""
REMOVED = "removed"
"""What stands in the place of an owner who was removed."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One entry of the audit log."""

    id: str
    at: float
    actor: str
    """`OWNER:ID` of the key or session that was used, or `system`."""
    action: str
    """Dotted words: `key.created`, `consent.withdrawn`."""
    subject: str
    """What it was done to: an id, or an owner."""
    detail: Mapping[str, str | int]


class AuditRepository(Repository):
    """The audit log of an installation."""

    def add(
        self,
        actor: str,
        action: str,
        subject: str,
        detail: Mapping[str, str | int],
        now: float,
        connection: sa.Connection | None = None,
    ) -> None:
        """Add an entry, with `connection` inside that transaction: what is rolled back was not done."""
        values = {"at": now, "actor": actor, "action": action, "subject": subject, "detail": dict(detail)}
        statement = sa.insert(audit).values(id=new_id("audit", now), **values)
        if connection is None:
            self._write(statement)
        else:
            connection.execute(statement)

    def list(self, cursor: str | None = None, limit: int = 50, action: str = "", actor: str = "") -> Page[AuditRow]:
        """Return one page of entries, the newest first; `action` may be its first words, `actor` an owner."""
        chosen = sa.select(audit)
        if action:
            chosen = chosen.where((audit.c.action == action) | audit.c.action.startswith(f"{action}.", autoescape=True))
        if actor:
            chosen = chosen.where((audit.c.actor == actor) | audit.c.actor.startswith(f"{actor}:", autoescape=True))
        return self._page(lambda row: row_as(AuditRow, row), chosen, cursor, limit)

    def forget_owner(self, owner: str, connection: sa.Connection) -> None:
        """Take a removed owner's name out of the entries; what was done, and with which key, stays."""
        theirs = audit.c.actor.startswith(f"{owner}:", autoescape=True)
        rest = sa.literal(REMOVED).concat(sa.func.substr(audit.c.actor, len(owner) + 1))
        connection.execute(sa.update(audit).where(theirs).values(actor=rest))
        connection.execute(sa.update(audit).where(audit.c.subject == owner).values(subject=REMOVED))

    def prune(self, older_than: float) -> int:
        """Delete the entries from before `older_than`; returns how many."""
        return self._write(sa.delete(audit).where(audit.c.at < older_than))
