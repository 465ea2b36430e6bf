"""The first response to each Idempotency-Key, so that a request that is sent again gets it again."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from portrait.errors import UserError
from tasks.ledger.rows import Repository
from tasks.ledger.tables import idempotency_keys

IN_FLIGHT_SECONDS = 60.0
"""Seconds after which a request without a response is taken for dead."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response to a request, to be sent again."""

    status: int
    headers: Mapping[str, str]
    body: str


class IdempotencyRepository(Repository):
    """Idempotency keys of each owner with the stored responses."""

    def begin(self, owner: str, key: str, fingerprint: str, now: float) -> StoredResponse | None:
        """Take an Idempotency-Key for a request; returns None for a new request, else the stored response.

        Raises `UserError`: `idempotency_mismatch` when the key came with another body, `idempotency_in_flight` while the
        first request has no response.
        """
        mine = _is_key(owner, key)
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
                    return StoredResponse(row.status, row.headers, row.body)
                if now - row.created > IN_FLIGHT_SECONDS:
                    connection.execute(sa.update(idempotency_keys).where(mine).values(fresh))
                    return None
        except IntegrityError:
            pass  # PostgreSQL: another request inserted the key between the select and the insert
        raise UserError("idempotency_in_flight", "The first request with this Idempotency-Key is not answered yet.")

    def save_response(self, owner: str, key: str, response: StoredResponse) -> None:
        """Store the response for the next request with the same key."""
        values = {"status": response.status, "headers": dict(response.headers), "body": response.body}
        self._write(sa.update(idempotency_keys).where(_is_key(owner, key)).values(values))

    def release(self, owner: str, key: str) -> None:
        """Free the key of a request that failed in a way that may be tried again."""
        self._write(sa.delete(idempotency_keys).where(_is_key(owner, key), idempotency_keys.c.status.is_(None)))

    def prune(self, older_than: float) -> int:
        """Delete the keys that were taken before `older_than`; returns how many."""
        return self._write(sa.delete(idempotency_keys).where(idempotency_keys.c.created < older_than))


def _is_key(owner: str, key: str) -> sa.ColumnElement[bool]:
    return (idempotency_keys.c.owner == owner) & (idempotency_keys.c.key == key)
