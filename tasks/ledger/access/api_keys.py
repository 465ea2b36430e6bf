"""API keys and one-time sign-in codes, each stored by the hash of its secret."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.access.owners import enabled, register_owner
from tasks.ledger.rows import ApiKeyRow, Repository, Role
from tasks.ledger.tables import api_keys, sessions, sign_in_codes


class ApiKeyRepository(Repository):
    """API keys and sign-in codes; the secrets themselves are never stored."""

    def add(self, key: ApiKeyRow, hash: str, connection: sa.Connection | None = None) -> ApiKeyRow:
        """Insert a key with the hash of its secret; raises as `register_owner`."""
        with self.database.within(connection) as writing:
            register_owner(self.database, writing, key.owner, key.created)
            writing.execute(sa.insert(api_keys).values(**asdict(key), hash=hash))
        return key

    def find(self, hash: str, now: float) -> ApiKeyRow | None:
        """Return the key with this hash, None when it was revoked, has expired, is a disabled owner's or never was."""
        return self._find(ApiKeyRow, _FIND, of_hash=hash, now=now)

    def hold(self, id: str, now: float, connection: sa.Connection) -> bool:
        """Whether a key is valid, and will be until this transaction ends."""
        chosen = sa.select(api_keys.c.id).where(api_keys.c.id == id, _valid(now), enabled(api_keys.c.owner))
        return connection.execute(chosen.with_for_update(read=True)).first() is not None

    def count(self, owner: str, now: float, connection: sa.Connection) -> int:
        """Return how many keys of the owner's are valid; others of the same owner wait until this transaction ends."""
        self.database.lock_owner(connection, owner.lower())
        chosen = sa.select(sa.func.count()).select_from(api_keys).where(api_keys.c.owner == owner, _valid(now))
        return connection.execute(chosen).scalar_one()

    def add_code(self, owner: str, role: Role, hash: str, expires: float, now: float) -> None:
        """Insert a one-time code by its hash; raises as `register_owner`."""
        with self.database.write() as connection:
            register_owner(self.database, connection, owner, now)
            connection.execute(sa.insert(sign_in_codes).values(owner=owner, role=role, hash=hash, expires=expires))

    def redeem_code(self, hash: str, now: float, connection: sa.Connection | None = None) -> tuple[str, Role] | None:
        """Delete a code and return its owner and role; None when there is none or it has expired."""
        with self.database.within(connection) as writing:
            code = sa.delete(sign_in_codes).where(sign_in_codes.c.hash == hash).returning(sign_in_codes)
            row = writing.execute(code).first()
            return None if row is None or row.expires < now else (row.owner, row.role)

    def touch(self, id: str, now: float) -> None:
        """Set when a key was last used; the caller does so once a minute at most."""
        self._write(sa.update(api_keys).where(api_keys.c.id == id).values(used=now))

    def list(self, owner: str | None = None, after: str = "", limit: int | None = None) -> Sequence[ApiKeyRow]:
        """Return the owner's keys behind the id `after`, the oldest first; of all owners for None, as only admins may see."""
        chosen = sa.select(api_keys).where(api_keys.c.id > after).order_by(api_keys.c.id).limit(limit)
        if owner is not None:
            chosen = chosen.where(api_keys.c.owner == owner)
        return self._all(ApiKeyRow, chosen)

    def revoke(
        self, id: str, now: float, owner: str | None = None, connection: sa.Connection | None = None
    ) -> tuple[str, Sequence[str]]:
        """Revoke a key, with `owner` only if it is theirs, and what was opened with it: raises `not_found`.

        What was opened with it are its sessions, the keys of the same owner that were made with it, and theirs. Returns
        that owner and the ids of the keys.
        """
        chosen = sa.select(api_keys.c.owner).where(api_keys.c.id == id, api_keys.c.revoked.is_(None))
        if owner is not None:
            chosen = chosen.where(api_keys.c.owner == owner)
        with self.database.within(connection) as writing:
            theirs = writing.execute(chosen).scalar()
            if theirs is None:
                raise UserError("not_found", "There is no such key.")
            ids = [id, *_made_with(writing, theirs, id)]
            revoked = (api_keys.c.id == id) | (api_keys.c.id.in_(ids) & api_keys.c.revoked.is_(None))
            writing.execute(sa.update(api_keys).where(revoked).values(revoked=now))
            writing.execute(sa.delete(sessions).where(sessions.c.key.in_(ids)))
        return theirs, ids

    def revoke_all(self, owner: str, now: float, connection: sa.Connection) -> int:
        """Revoke every key of the owner's; returns how many were valid."""
        chosen = sa.update(api_keys).where(api_keys.c.owner == owner, api_keys.c.revoked.is_(None))
        return connection.execute(chosen.values(revoked=now)).rowcount

    def prune(self, older_than: float) -> None:
        """Delete the codes and keys that expired before `older_than`."""
        with self.database.write() as connection:
            connection.execute(sa.delete(sign_in_codes).where(sign_in_codes.c.expires < older_than))
            connection.execute(sa.delete(api_keys).where(api_keys.c.expires < older_than))


def _valid(now: float | sa.ColumnElement[float]) -> sa.ColumnElement[bool]:
    return api_keys.c.revoked.is_(None) & (api_keys.c.expires.is_(None) | (api_keys.c.expires > now))


def _made_with(connection: sa.Connection, owner: str, id: str) -> Sequence[str]:
    """The keys of the owner that were made with this one, with those, and so on."""
    found = sa.select(api_keys.c.id).where(api_keys.c.made_by == id, api_keys.c.owner == owner).cte(recursive=True)
    further = sa.select(api_keys.c.id).join(found, api_keys.c.made_by == found.c.id).where(api_keys.c.owner == owner)
    return connection.execute(sa.select(found.union(further).c.id)).scalars().all()


# Made once: to put a statement together takes longer than to have it answered.
_NOW: sa.ColumnElement[Any] = sa.bindparam("now", type_=sa.Double)
_FIND = sa.select(api_keys).where(api_keys.c.hash == sa.bindparam("of_hash"), _valid(_NOW), enabled(api_keys.c.owner))
