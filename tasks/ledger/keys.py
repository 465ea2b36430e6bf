"""API keys by their hash, and the first answer to each Idempotency-Key."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from portrait.errors import UserError
from tasks.ledger.database import Database
from tasks.ledger.rows import KeyRow, Role, row_as
from tasks.ledger.tables import api_keys, idempotency_keys, sign_in_codes

IN_FLIGHT = 60.0
"""Seconds after which a request that never answered is taken for dead."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a request, to be answered again."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in, and what they were told."""

    database: Database

    def add_key(self, key: KeyRow, hash: str) -> KeyRow:
        """Keep a key by the hash of its secret."""
        with self.database.write() as connection:
            connection.execute(sa.insert(api_keys).values(**asdict(key), hash=hash))
        return key

    def key(self, hash: str, now: float) -> KeyRow | None:
        """The key with this hash, unless it was revoked or has expired."""
        valid = api_keys.c.revoked.is_(None) & (api_keys.c.expires.is_(None) | (api_keys.c.expires > now))
        with self.database.read() as connection:
            row = connection.execute(sa.select(api_keys).where(api_keys.c.hash == hash, valid)).first()
            return None if row is None else row_as(KeyRow, row)

    def add_code(self, owner: str, role: Role, hash: str, expires: float) -> None:
        """Keep a one-time code by its hash."""
        with self.database.write() as connection:
            connection.execute(sa.insert(sign_in_codes).values(owner=owner, role=role, hash=hash, expires=expires))

    def take_code(self, hash: str, now: float) -> tuple[str, Role] | None:
        """Owner and role of a code, which is used up by this; None when there is none that holds."""
        with self.database.write() as connection:
            row = connection.execute(
                sa.delete(sign_in_codes).where(sign_in_codes.c.hash == hash).returning(sign_in_codes)
            ).first()
            return None if row is None or row.expires < now else (row.owner, row.role)

    def touch_key(self, id: str, now: float) -> None:
        """Note that a key was used; call it seldom."""
        with self.database.write() as connection:
            connection.execute(sa.update(api_keys).where(api_keys.c.id == id).values(used=now))

    def keys(self, owner: str | None = None) -> Sequence[KeyRow]:
        """The owner's keys; everybody's for None, which only an admin may see."""
        chosen = sa.select(api_keys).order_by(api_keys.c.id)
        if owner is not None:
            chosen = chosen.where(api_keys.c.owner == owner)
        with self.database.read() as connection:
            return [row_as(KeyRow, row) for row in connection.execute(chosen)]

    def revoke_key(self, id: str, now: float, owner: str | None = None) -> None:
        """It opens nothing any more; only a key of `owner`, if told. Raises `not_found`."""
        chosen = sa.update(api_keys).where(api_keys.c.id == id, api_keys.c.revoked.is_(None))
        if owner is not None:
            chosen = chosen.where(api_keys.c.owner == owner)
        with self.database.write() as connection:
            if connection.execute(chosen.values(revoked=now)).rowcount == 0:
                raise UserError("not_found", "There is no such key.")

    def begin(self, owner: str, key: str, fingerprint: str, now: float) -> Answer | None:
        """Take an Idempotency-Key for a request: None means go on, an answer means it was given before.

        Raises `UserError`: `idempotency_mismatch` when the key came with another body, `idempotency_in_flight` while the
        first request has not answered.
        """
        mine = (idempotency_keys.c.owner == owner) & (idempotency_keys.c.key == key)
        fresh = {"fingerprint": fingerprint, "status": None, "headers": {}, "body": "", "created": now}
        try:
            with self.database.write() as connection:
                row = connection.execute(sa.select(idempotency_keys).where(mine).with_for_update()).first()
                if row is None:
                    connection.execute(sa.insert(idempotency_keys).values(owner=owner, key=key, **fresh))
                    return None
                if row.fingerprint != fingerprint:
                    raise UserError("idempotency_mismatch", "This Idempotency-Key was used for another request.")
                if row.status is not None:
                    return Answer(row.status, row.headers, row.body)
                if now - row.created > IN_FLIGHT:
                    connection.execute(sa.update(idempotency_keys).where(mine).values(fresh))
                    return None
        except IntegrityError:
            pass  # PostgreSQL: another request wrote the key between the look and the insert
        raise UserError("idempotency_in_flight", "The first request with this Idempotency-Key is not answered yet.")

    def answered(self, owner: str, key: str, answer: Answer) -> None:
        """Keep the answer for the next request with the same key."""
        self._update(owner, key, status=answer.status, headers=dict(answer.headers), body=answer.body)

    def forget_key(self, owner: str, key: str) -> None:
        """The request failed in a way that may be tried again: free the key."""
        with self.database.write() as connection:
            connection.execute(
                sa.delete(idempotency_keys).where(
                    idempotency_keys.c.owner == owner,
                    idempotency_keys.c.key == key,
                    idempotency_keys.c.status.is_(None),
                )
            )

    def prune(self, older_than: float) -> int:
        """Forget old answers, codes that nobody used and keys that expired."""
        with self.database.write() as connection:
            connection.execute(sa.delete(sign_in_codes).where(sign_in_codes.c.expires < older_than))
            connection.execute(sa.delete(api_keys).where(api_keys.c.expires < older_than))
            return connection.execute(
                sa.delete(idempotency_keys).where(idempotency_keys.c.created < older_than)
            ).rowcount

    def _update(self, owner: str, key: str, **values: object) -> None:
        with self.database.write() as connection:
            mine = (idempotency_keys.c.owner == owner) & (idempotency_keys.c.key == key)
            connection.execute(sa.update(idempotency_keys).where(mine).values(**values))
