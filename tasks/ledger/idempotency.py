"""The first response to each Idempotency-Key, so that a request that is sent again gets it again.

With the key an id is reserved for what the request makes. A request whose process died before it was answered is taken up again
with that id, and finds what was made already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from portrait.errors import UserError
from tasks.ledger.database import new_id
from tasks.ledger.rows import Repository, get_owned
from tasks.ledger.tables import idempotency_keys

IN_FLIGHT_SECONDS = 60.0
"""Seconds after which a request without a response is taken for dead."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response to a request, to be sent again."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Reserved:
    """A request that is to be carried out, for the first time or because the first process died at it."""

    id: str
    """For what it makes: the same each time."""


def id_of_kind(prefix: str, reserved: str) -> str:
    """Return a reserved id for something else than a job: the same each time, too."""
    return f"{prefix}_{reserved.partition('_')[2]}"


def made_before(connection: sa.Connection, table: sa.Table, owner: str, id: str) -> sa.Row[Any] | None:
    """Return the row with a reserved id, which an earlier run of the request made; raises `UserError` (`erased`)."""
    try:
        return get_owned(connection, table, owner, id)
    except UserError as error:
        if error.code != "not_found":
            raise
        return None


class IdempotencyRepository(Repository):
    """Idempotency keys of each owner with the stored responses."""

    def begin(self, owner: str, key: str, fingerprint: str, now: float) -> StoredResponse | Reserved:
        """Take an Idempotency-Key for a request; returns the stored response, or what the request is to be done with.

        Raises `UserError`: `idempotency_mismatch` when the key came with another body, `idempotency_in_flight` while the
        first request has no response.
        """
        mine = _is_key(owner, key)
        # Until there is a response, its place holds the id that was reserved.
        reserved = Reserved(new_id("job", now))
        fresh = {"fingerprint": fingerprint, "status": None, "headers": {}, "body": reserved.id, "created": now}
        try:
            with self.database.write() as connection:
                row = connection.execute(sa.select(idempotency_keys).where(mine).with_for_update()).first()
                if row is None:
                    connection.execute(sa.insert(idempotency_keys).values(owner=owner, key=key, **fresh))
                    return reserved
                if row.fingerprint != fingerprint:
                    raise UserError("idempotency_mismatch", "This Idempotency-Key was used for another request.")
                if row.status is not None:
                    return StoredResponse(row.status, row.headers, row.body)
                if now - row.created > IN_FLIGHT_SECONDS:
                    connection.execute(sa.update(idempotency_keys).where(mine).values(created=now))
                    return Reserved(row.body or reserved.id)
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
