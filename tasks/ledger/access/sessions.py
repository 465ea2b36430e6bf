"""Sessions: what a browser holds instead of a key. They end when they are idle, at their last day, and when they are ended."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.access.owners import enabled
from tasks.ledger.rows import OwnedRow, Repository, Role
from tasks.ledger.tables import api_keys, sessions, sign_in_codes

MOST_SESSIONS = 50
"""Sessions of one owner at once; one more ends the one that was not used for the longest."""


@dataclass(frozen=True, slots=True)
class SessionRow(OwnedRow):
    """A session without its secret."""

    role: Role
    created: float
    used: float
    """When it was last used, within a minute."""
    idle: float
    """Seconds without use after which it ends."""
    expires: float
    """When it ends at the latest."""
    key: str | None = field(default=None)
    """The key that opened it, whose end is its own."""


class SessionRepository(Repository):
    """Sessions; the secrets themselves are never stored."""

    def add(self, session: SessionRow, hash: str, connection: sa.Connection | None = None) -> SessionRow:
        """Insert a session with the hash of its secret; ends the least used of too many."""
        chosen = sa.select(sessions.c.id).where(sessions.c.owner == session.owner)
        surplus = chosen.order_by(sessions.c.used.desc(), sessions.c.id.desc()).offset(MOST_SESSIONS - 1)
        with self.database.within(connection) as writing:
            old = writing.execute(surplus).scalars().all()
            writing.execute(sa.delete(sessions).where(sessions.c.id.in_(old)))
            writing.execute(sa.insert(sessions).values(**asdict(session), hash=hash))
        return session

    def find(self, hash: str, now: float) -> SessionRow | None:
        """Return the session with this hash, None when it has ended, its owner is disabled, or it never was."""
        return self._find(SessionRow, _FIND, of_hash=hash, now=now)

    def hold(self, id: str, now: float, connection: sa.Connection) -> bool:
        """Whether a session is valid, and will be until this transaction ends."""
        chosen = sa.select(sessions.c.id).where(sessions.c.id == id, _valid(now), enabled(sessions.c.owner))
        return connection.execute(chosen.with_for_update(read=True)).first() is not None

    def touch(self, id: str, now: float) -> None:
        """Set when a session was last used; the caller does so once a minute at most."""
        self._write(sa.update(sessions).where(sessions.c.id == id).values(used=now))

    def list(self, owner: str, now: float) -> Sequence[SessionRow]:
        """Return the owner's sessions, the newest first."""
        chosen = sa.select(sessions).where(sessions.c.owner == owner, _valid(now)).order_by(sessions.c.id.desc())
        return self._all(SessionRow, chosen)

    def end(self, owner: str, id: str) -> None:
        """End one session of the owner's, and the codes by which it could go on; raises `UserError` (`not_found`)."""
        with self.database.write() as writing:
            if writing.execute(sa.delete(sessions).where(sessions.c.id == id, sessions.c.owner == owner)).rowcount == 0:
                raise UserError("not_found", "There is no such session.")
            _end_codes(writing, owner)

    def end_all(self, owner: str, connection: sa.Connection | None = None) -> int:
        """End every session of the owner's, and the codes by which they could go on; returns how many sessions."""
        with self.database.within(connection) as writing:
            _end_codes(writing, owner)
            return writing.execute(sa.delete(sessions).where(sessions.c.owner == owner)).rowcount

    def prune(self, now: float) -> None:
        """Delete the sessions that have ended by themselves."""
        self._write(sa.delete(sessions).where(~_valid(now)))


def _end_codes(connection: sa.Connection, owner: str) -> None:
    connection.execute(sa.delete(sign_in_codes).where(sign_in_codes.c.owner == owner))


def _valid(now: float | sa.ColumnElement[float]) -> sa.ColumnElement[bool]:
    """Neither idle nor at its last day, and with its key: also a session that was opened while the key was being revoked."""
    key = sa.exists().where(api_keys.c.id == sessions.c.key, api_keys.c.revoked.is_(None))
    in_time = (sessions.c.expires > now) & (sessions.c.used + sessions.c.idle > now)
    return in_time & (sessions.c.key.is_(None) | key)


# Made once: to put a statement together takes longer than to have it answered.
_NOW: sa.ColumnElement[Any] = sa.bindparam("now", type_=sa.Double)
_FIND = sa.select(sessions).where(sessions.c.hash == sa.bindparam("of_hash"), _valid(_NOW), enabled(sessions.c.owner))
