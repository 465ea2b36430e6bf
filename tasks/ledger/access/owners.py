"""Owners: which accounts there are, disabled or not; what is left of one that is removed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.access.audit import REMOVED, SYSTEM
from tasks.ledger.database import Database
from tasks.ledger.rows import Repository, row_as
from tasks.ledger.tables import api_keys, erasures, metadata, owners, people, sessions, sign_in_codes

OWNER = r"[A-Za-z0-9](?:\.?[A-Za-z0-9_-]){0,63}"
"""The pattern of an owner's name, which names a folder: no dot at its end, no two in a row; 64 characters at most."""
_FORMER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What was allowed before: such owners are let in as before."""
RESERVED = (SYSTEM, REMOVED)
"""Names that are no owner's."""
_KEPT = {"erasures", "consent_proofs"}
"""Tables with an owner that outlive them: receipts of what was erased, and proofs of consent, at last without the owner."""


@dataclass(frozen=True, slots=True)
class OwnerRow:
    """An owner."""

    id: str
    created: float
    disabled: float | None = None
    """Since when nothing of theirs opens anything."""


@dataclass(frozen=True, slots=True)
class OwnerUse:
    """What an owner has that opens something, and when it was last used."""

    keys: int
    sessions: int
    people: int
    used: float | None


def enabled(owner: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """The condition that the owner in this column is not disabled."""
    return ~sa.exists().where(owners.c.id == owner, owners.c.disabled.is_not(None))


def register_owner(database: Database, connection: sa.Connection, owner: str, now: float) -> None:
    """Note that there is this owner, before something is made that lets them in.

    Raises `UserError`: `bad_owner` for a new name that cannot name a folder; `owner_taken` for one that differs from another in
    capitals alone, since the two would share a folder on some disks; `owner_disabled`.
    """
    if not re.fullmatch(_FORMER, owner):
        raise _bad_owner()
    folded = owner.lower()
    database.lock_owner(connection, folded)
    rows = {row.id: row for row in connection.execute(sa.select(owners).where(owners.c.folded == folded))}
    if owner not in rows:
        _check_name(owner)
        if rows:
            raise UserError("owner_taken", f"There is an owner {next(iter(rows))!r} already. Choose another name.")
        removed = sa.select(erasures.c.id).where(erasures.c.owner == owner, erasures.c.kind == "owner").limit(1)
        if connection.execute(removed).first() is not None:
            sentence = "An owner of this name is being removed. Try again in some minutes, or choose another name."
            raise UserError("owner_taken", sentence)
        connection.execute(sa.insert(owners).values(id=owner, folded=folded, created=now))
    elif rows[owner].disabled is not None:
        raise UserError("owner_disabled", "This account was disabled. Ask whoever runs this installation.")


def _check_name(owner: str) -> None:
    if not re.fullmatch(OWNER, owner):
        raise _bad_owner()
    if owner.lower() in RESERVED:
        raise UserError("bad_owner", f"{owner!r} means something else in the audit log. Choose another name.")


def _bad_owner() -> UserError:
    return UserError(
        "bad_owner", "An owner is named by up to 64 letters, digits, single dots, hyphens and underscores."
    )


class OwnerRepository(Repository):
    """The owners of an installation."""

    def list(self, after: str = "", limit: int = 200) -> Sequence[OwnerRow]:
        """Return the owners whose names follow `after`, in the order of their names."""
        chosen = sa.select(owners).where(owners.c.id > after).order_by(owners.c.id).limit(limit)
        return self._all(OwnerRow, chosen)

    def get(self, owner: str, connection: sa.Connection | None = None) -> OwnerRow:
        """Return an owner; raises `UserError` (`not_found`)."""
        with self.database.within(connection) as reading:
            row = reading.execute(sa.select(owners).where(owners.c.id == owner)).first()
        if row is None:
            raise UserError("not_found", "There is no such owner.")
        return row_as(OwnerRow, row)

    def use(self, owner: str, now: float) -> OwnerUse:
        """Return what an owner has at present."""
        key = sa.select(sa.func.count(), sa.func.max(api_keys.c.used)).where(
            api_keys.c.owner == owner,
            api_keys.c.revoked.is_(None),
            api_keys.c.expires.is_(None) | (api_keys.c.expires > now),
        )
        session = sa.select(sa.func.count(), sa.func.max(sessions.c.used)).where(
            sessions.c.owner == owner, sessions.c.expires > now, sessions.c.used + sessions.c.idle > now
        )
        person = sa.select(sa.func.count()).where(people.c.owner == owner)
        with self.database.read() as connection:
            keys, used = connection.execute(key).one()
            opened, seen = connection.execute(session).one()
            persons = connection.execute(person).scalar_one()
        return OwnerUse(keys, opened, persons, max((at for at in (used, seen) if at is not None), default=None))

    def disable(self, owner: str, now: float, connection: sa.Connection | None = None) -> OwnerRow:
        """Let nothing of the owner's open anything any more: sessions and sign-in codes end, keys wait; raises `not_found`."""
        with self.database.within(connection) as writing:
            before = self.get(owner, writing)
            if before.disabled is None:
                writing.execute(sa.update(owners).where(owners.c.id == owner).values(disabled=now))
            for table in (sessions, sign_in_codes):
                writing.execute(sa.delete(table).where(table.c.owner == owner))
            return self.get(owner, writing)

    def enable(self, owner: str, connection: sa.Connection | None = None) -> OwnerRow:
        """Let the owner's keys open again; raises `not_found`."""
        with self.database.within(connection) as writing:
            self.get(owner, writing)
            writing.execute(sa.update(owners).where(owners.c.id == owner).values(disabled=None))
            return self.get(owner, writing)

    def remove(self, owner: str, connection: sa.Connection) -> None:
        """Delete every row of the owner's but the receipts of what was erased; raises `not_found`."""
        self.get(owner, connection)
        for table in reversed(metadata.sorted_tables):
            if "owner" in table.c and table.name not in _KEPT:
                connection.execute(sa.delete(table).where(table.c.owner == owner))
        connection.execute(sa.delete(owners).where(owners.c.id == owner))

    def removed(self) -> Sequence[str]:
        """Return the removed owners of whom every file is erased and whose name still stands in receipts."""
        waiting = sa.select(erasures.c.owner).where(erasures.c.done.is_(None))
        known = sa.select(owners.c.id)
        chosen = sa.select(erasures.c.owner).where(erasures.c.kind == "owner", erasures.c.owner != REMOVED).distinct()
        chosen = chosen.where(erasures.c.owner.not_in(known), erasures.c.owner.not_in(waiting))
        with self.database.read() as connection:
            return connection.execute(chosen).scalars().all()

    def forget(self, owner: str, connection: sa.Connection) -> None:
        """Take a removed owner's name out of the receipts; what was erased, by ids, stays."""
        mine = erasures.c.owner == owner
        connection.execute(sa.update(erasures).where(mine, erasures.c.subject == owner).values(subject=REMOVED))
        connection.execute(sa.update(erasures).where(mine).values(owner=REMOVED))
