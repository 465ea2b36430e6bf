"""Authentication by API keys, sessions and one-time sign-in codes, and the roles of their owners.

A key or session is 256 random bits, shown once and stored as its SHA-256: there is nothing to guess, so a slow hash would only
cost time. Keys are for programs and last; sessions are for browsers and end.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.jobs import DAY
from tasks.ledger.access.audit import SYSTEM
from tasks.ledger.access.owners import register_owner
from tasks.ledger.access.sessions import SessionRow
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.rows import ApiKeyRow, Role
from tasks.settings import SessionSettings

ROLES: tuple[Role, ...] = ("person", "operator", "admin")
"""Each role includes those before it."""
CODE_LIFETIME = 15 * 60.0
"""Seconds for which a one-time sign-in code is valid."""
DEVICE_CODE_LIFETIME = 5 * 60.0
"""Seconds for which a code is valid by which somebody signs in on another device of theirs, which they have at hand."""
INVITATION_LIFETIME = 3 * DAY
"""Seconds for which an invitation is valid: it is read when its mail is."""
SIGN_IN_LIFETIME = 30 * DAY
"""Seconds for which a key from a sign-in code is valid."""
SESSION = "ps_"
"""How the secret of a session begins; that of a key begins with `pk_`."""
TOUCH_INTERVAL = 60.0
"""Seconds between two writes of when a key was last used."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner and role behind a request."""

    owner: str
    role: Role
    key: str
    """Id of the key or session, not its secret."""
    expires: float | None = None
    """When the key or session ends at the latest."""
    made_by: str = field(default="", compare=False)
    """What keys that this caller makes were made with: the key, also behind a session, or the session of a sign-in."""

    @property
    def actor(self) -> str:
        """The caller, as the audit log names them."""
        return f"{self.owner}:{self.key}"

    def has_role(self, role: Role) -> bool:
        """Whether the caller's role includes this one."""
        return ROLES.index(self.role) >= ROLES.index(role) if self.role in ROLES else False


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key with its secret, which is known this one time."""

    row: ApiKeyRow
    secret: str


def hash_secret(secret: str) -> str:
    """Return the hash that the ledger stores of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


SignIn: TypeAlias = Literal["code", "key", "oidc"]
"""How somebody signed in."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A new session with its secret, which is known this one time."""

    row: SessionRow
    secret: str


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """A key that somebody asks for."""

    owner: str
    name: str
    role: Role
    expires: float | None = None


def create_key(ledger: Ledger, owner: str, name: str, role: Role, now: float, expires: float | None = None) -> NewKey:
    """Create a key as the system; raises `UserError` (`bad_owner`, `bad_role`, `owner_taken`, `owner_disabled`)."""
    with ledger.database.write() as connection:
        return _create_key(ledger, connection, KeyOrder(owner, name, role, expires), now, None)


def create_key_for(ledger: Ledger, caller: Caller, order: KeyOrder, most: int, now: float) -> NewKey:
    """Create a key for a caller, which ends with the caller's own at the latest; an owner has `most` of them.

    Raises `UserError` (`forbidden`, `too_many_keys`) and as `create_key`.
    """
    if (order.owner != caller.owner or order.role != "person") and not caller.has_role("admin"):
        raise UserError("forbidden", "Only an admin may make keys for others or with more rights.")
    ends = min((at for at in (order.expires, caller.expires) if at is not None), default=None)
    with ledger.database.write() as connection:
        # Nothing is made with a key or session that is ended meanwhile.
        held = (each.hold(caller.made_by, now, connection) for each in (ledger.api_keys, ledger.sessions))
        if not any(held):
            raise _unauthenticated()
        if ledger.api_keys.count(order.owner, now, connection) >= most:
            raise UserError("too_many_keys", f"There are {most} keys already. Revoke those that are not needed.")
        return _create_key(ledger, connection, KeyOrder(order.owner, order.name, order.role, ends), now, caller)


def _create_key(
    ledger: Ledger, connection: sa.Connection, order: KeyOrder, now: float, caller: Caller | None
) -> NewKey:
    if order.role not in ROLES:
        raise UserError("bad_role", f"A role is one of {', '.join(ROLES)}.")
    secret, made_by = f"pk_{secrets.token_urlsafe(32)}", None if caller is None else caller.made_by
    row = ApiKeyRow(new_id("key", now), order.owner, order.name, order.role, now, None, None, order.expires, made_by)
    ledger.api_keys.add(row, hash_secret(secret), connection)
    actor, detail = SYSTEM if caller is None else caller.actor, {"key": row.id, "role": order.role}
    ledger.audit.add(actor, "key.created", order.owner, detail, now, connection)
    return NewKey(row, secret)


def revoke_key(ledger: Ledger, id: str, caller: Caller | None, now: float) -> None:
    """Revoke a key and what was made with it: the caller's own, anybody's for an admin or (None) the system.

    Raises `UserError` (`not_found`).
    """
    only = None if caller is None or caller.has_role("admin") else caller.owner
    actor = SYSTEM if caller is None else caller.actor
    with ledger.database.write() as connection:
        owner, ids = ledger.api_keys.revoke(id, now, only, connection)
        for each in ids:
            ledger.audit.add(actor, "key.revoked", owner, {"key": each}, now, connection)


def create_code(ledger: Ledger, owner: str, role: Role, now: float) -> str:
    """Create a one-time code that signs in once within a quarter of an hour; raises as `create_key`."""
    return _create_code(ledger, owner, role, now, CODE_LIFETIME, SYSTEM)


def invite(ledger: Ledger, owner: str, role: Role, caller: Caller, now: float) -> str:
    """Create a one-time code for somebody who gets it by mail, valid for three days; raises as `create_key`."""
    return _create_code(ledger, owner, role, now, INVITATION_LIFETIME, caller.actor)


def create_device_code(ledger: Ledger, caller: Caller, now: float) -> str:
    """Create a one-time code by which the person behind a session signs in on another device, valid for five minutes.

    Raises `UserError` (`signed_in_by_key`) for an API key and for a session that one opened, which what comes of the code would
    outlast.
    """
    is_session = caller.key in {each.id for each in ledger.sessions.list(caller.owner, now)}
    if not is_session or caller.made_by != caller.key:
        raise UserError("signed_in_by_key", "You signed in with a key. Sign in with it on the other device too.")
    return _create_code(ledger, caller.owner, caller.role, now, DEVICE_CODE_LIFETIME, caller.actor)


def _create_code(ledger: Ledger, owner: str, role: Role, now: float, lifetime: float, actor: str) -> str:
    code = secrets.token_urlsafe(24)
    ledger.api_keys.add_code(owner, role, hash_secret(code), now + lifetime, now)
    ledger.audit.add(actor, "code.created", owner, {"role": role}, now)
    return code


def sign_in(ledger: Ledger, code: str, now: float) -> NewKey:
    """Exchange a one-time code for a key; raises `UserError` (`bad_code`, `owner_disabled`)."""
    with ledger.database.write() as connection:
        found = ledger.api_keys.redeem_code(hash_secret(code), now, connection)
        if found is not None:
            order = KeyOrder(found[0], "sign-in link", found[1], now + SIGN_IN_LIFETIME)
            return _create_key(ledger, connection, order, now, None)
    raise _bad_code()


def open_session_with_code(ledger: Ledger, code: str, limits: SessionSettings, now: float) -> NewSession:
    """Exchange a one-time code for a session; raises `UserError` (`bad_code`, `owner_disabled`)."""
    with ledger.database.write() as connection:
        found = ledger.api_keys.redeem_code(hash_secret(code), now, connection)
        if found is not None:
            return _open_session(ledger, connection, _new_session(found[0], found[1], limits, now), "code")
    raise _bad_code()


def open_session_with_key(ledger: Ledger, secret: str, limits: SessionSettings, now: float) -> NewSession:
    """Open a session for whoever has a key; it ends with the key. Raises `UserError` (`unauthenticated`)."""
    key = ledger.api_keys.find(hash_secret(secret), now)
    if key is None:
        raise UserError("unauthenticated", "This key opens nothing: it was revoked, has expired, or is mistyped.")
    row = _new_session(key.owner, key.role, limits, now, key)
    ledger.api_keys.touch(key.id, now)
    with ledger.database.write() as connection:
        return _open_session(ledger, connection, row, "key")


def open_session_of(ledger: Ledger, owner: str, role: Role, limits: SessionSettings, now: float) -> NewSession:
    """Open a session for somebody whom an OpenID provider signed in; raises as `create_key`."""
    with ledger.database.write() as connection:
        register_owner(ledger.database, connection, owner, now)
        return _open_session(ledger, connection, _new_session(owner, role, limits, now), "oidc")


def _new_session(
    owner: str, role: Role, limits: SessionSettings, now: float, key: ApiKeyRow | None = None
) -> SessionRow:
    last = now + limits.days * DAY
    if key is not None and key.expires is not None:
        last = min(last, key.expires)
    id = new_id("session", now)
    return SessionRow(id, owner, role, now, now, limits.idle_days * DAY, last, None if key is None else key.id)


def _open_session(ledger: Ledger, connection: sa.Connection, row: SessionRow, by: SignIn) -> NewSession:
    secret = f"{SESSION}{secrets.token_urlsafe(32)}"
    ledger.sessions.add(row, hash_secret(secret), connection)
    ledger.audit.add(f"{row.owner}:{row.id}", "session.opened", row.id, {"by": by}, row.created, connection)
    return NewSession(row, secret)


def end_sessions(ledger: Ledger, owner: str, keys: bool, now: float, actor: str = SYSTEM) -> dict[str, int]:
    """End every session of an owner and, with `keys`, revoke every key; returns how many. Raises `UserError` (`not_found`)."""
    with ledger.database.write() as connection:
        ledger.owners.get(owner, connection)
        ended = {"sessions": ledger.sessions.end_all(owner, connection)}
        if keys:
            ended["keys"] = ledger.api_keys.revoke_all(owner, now, connection)
        ledger.audit.add(actor, "session.ended_all", owner, ended, now, connection)
    return ended


def authenticate(ledger: Ledger, authorization: str, now: float, idle: bool = False) -> Caller:
    """Return the caller of an `Authorization` header; an `idle` request is no use. Raises `UserError` (`unauthenticated`)."""
    kind, _, given = authorization.partition(" ")
    secret = given.strip() if kind.lower() == "bearer" else ""
    row = None
    if secret.startswith(SESSION):
        row = ledger.sessions.find(hash_secret(secret), now)
    elif secret:
        row = ledger.api_keys.find(hash_secret(secret), now)
    if row is None:
        raise _unauthenticated()
    is_session = isinstance(row, SessionRow)
    if not idle and now - (row.used or 0.0) > TOUCH_INTERVAL:
        (ledger.sessions if is_session else ledger.api_keys).touch(row.id, now)
    return Caller(row.owner, row.role, row.id, row.expires, (row.key or row.id) if is_session else row.id)


def _unauthenticated() -> UserError:
    return UserError("unauthenticated", "Send a valid key: `Authorization: Bearer pk_…`.")


def _bad_code() -> UserError:
    return UserError("bad_code", "This sign-in link was used already or is too old. Ask for a new one.")
