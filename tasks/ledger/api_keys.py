"""API keys and one-time sign-in codes, each stored by the hash of its secret."""

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.rows import ApiKeyRow, Repository, Role
from tasks.ledger.tables import api_keys, sign_in_codes


class ApiKeyRepository(Repository):
    """API keys and sign-in codes; the secrets themselves are never stored."""

    def add(self, key: ApiKeyRow, hash: str) -> ApiKeyRow:
        """Insert a key with the hash of its secret."""
        self._write(sa.insert(api_keys).values(**asdict(key), hash=hash))
        return key

    def find(self, hash: str, now: float) -> ApiKeyRow | None:
        """Return the key with this hash, None when it was revoked, has expired or never was."""
        valid = api_keys.c.revoked.is_(None) & (api_keys.c.expires.is_(None) | (api_keys.c.expires > now))
        return self._find(ApiKeyRow, sa.select(api_keys).where(api_keys.c.hash == hash, valid))

    def add_code(self, owner: str, role: Role, hash: str, expires: float) -> None:
        """Insert a one-time code by its hash."""
        self._write(sa.insert(sign_in_codes).values(owner=owner, role=role, hash=hash, expires=expires))

    def redeem_code(self, hash: str, now: float) -> tuple[str, Role] | None:
        """Delete a code and return its owner and role; None when there is none or it has expired."""
        with self.database.write() as connection:
            code = sa.delete(sign_in_codes).where(sign_in_codes.c.hash == hash).returning(sign_in_codes)
            row = connection.execute(code).first()
            return None if row is None or row.expires < now else (row.owner, row.role)

    def touch(self, id: str, now: float) -> None:
        """Set when a key was last used; the caller does so once a minute at most."""
        self._write(sa.update(api_keys).where(api_keys.c.id == id).values(used=now))

    def list(self, owner: str | None = None) -> Sequence[ApiKeyRow]:
        """Return the owner's keys; those of all owners for None, which only an admin may see."""
        chosen = sa.select(api_keys).order_by(api_keys.c.id)
        if owner is not None:
            chosen = chosen.where(api_keys.c.owner == owner)
        return self._all(ApiKeyRow, chosen)

    def revoke(self, id: str, now: float, owner: str | None = None) -> None:
        """Revoke a key, with `owner` only if it is theirs; raises `not_found`."""
        chosen = sa.update(api_keys).where(api_keys.c.id == id, api_keys.c.revoked.is_(None))
        if owner is not None:
            chosen = chosen.where(api_keys.c.owner == owner)
        if self._write(chosen.values(revoked=now)) == 0:
            raise UserError("not_found", "There is no such key.")

    def prune(self, older_than: float) -> None:
        """Delete the codes and keys that expired before `older_than`."""
        with self.database.write() as connection:
            connection.execute(sa.delete(sign_in_codes).where(sign_in_codes.c.expires < older_than))
            connection.execute(sa.delete(api_keys).where(api_keys.c.expires < older_than))
