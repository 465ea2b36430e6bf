"""Who is asking, and what they may do.

A key is 256 random bits, shown once and kept as its SHA-256: there is nothing to guess, so a slow hash would only cost time.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass

from portrait.errors import UserError
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Store
from tasks.ledger.rows import KeyRow, Role

ROLES: tuple[Role, ...] = ("person", "operator", "admin")
"""Each may do what those before it may."""
OWNER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What an owner is called: it names a folder."""
CODE_HOLDS = 15 * 60.0
"""Seconds a one-time sign-in code can be used."""
SIGNED_IN = 30 * 86_400.0
"""Seconds a key from a sign-in code opens."""
TOUCH_EVERY = 60.0
"""Seconds between two notes of when a key was used."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    owner: str
    role: Role
    key: str
    """Id of the key, not its secret."""

    def may(self, role: Role) -> bool:
        """Whether the caller's role includes this one."""
        return ROLES.index(self.role) >= ROLES.index(role) if self.role in ROLES else False


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key the one time its secret is known."""

    row: KeyRow
    secret: str


def hash_of(secret: str) -> str:
    """What the ledger keeps of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_key(store: Store, owner: str, name: str, role: Role, now: float, expires: float | None = None) -> NewKey:
    """Make a key; raises `UserError` (`bad_owner`, `bad_role`)."""
    if not re.fullmatch(OWNER, owner):
        raise UserError("bad_owner", "An owner is named by up to 64 letters, digits, dots, hyphens and underscores.")
    if role not in ROLES:
        raise UserError("bad_role", f"A role is one of {', '.join(ROLES)}.")
    secret = f"pk_{secrets.token_urlsafe(32)}"
    row = KeyRow(new_id("key", now), owner, name, role, now, expires=expires)
    return NewKey(store.access.add_key(row, hash_of(secret)), secret)


def new_code(store: Store, owner: str, role: Role, now: float) -> str:
    """A one-time code that can be changed for a key within a quarter of an hour."""
    if not re.fullmatch(OWNER, owner):
        raise UserError("bad_owner", "An owner is named by up to 64 letters, digits, dots, hyphens and underscores.")
    code = secrets.token_urlsafe(24)
    store.access.add_code(owner, role, hash_of(code), now + CODE_HOLDS)
    return code


def sign_in(store: Store, code: str, now: float) -> NewKey:
    """Change a one-time code for a key; raises `UserError` (`bad_code`)."""
    found = store.access.take_code(hash_of(code), now)
    if found is None:
        raise UserError("bad_code", "This sign-in link was used already or is too old. Ask for a new one.")
    owner, role = found
    return new_key(store, owner, "sign-in link", role, now, now + SIGNED_IN)


def caller_of(store: Store, authorization: str, now: float) -> Caller:
    """Who an `Authorization` header belongs to; raises `UserError` (`unauthenticated`)."""
    kind, _, secret = authorization.partition(" ")
    row = store.access.key(hash_of(secret.strip()), now) if kind.lower() == "bearer" and secret else None
    if row is None:
        raise UserError("unauthenticated", "Send a valid key: `Authorization: Bearer pk_…`.")
    if now - (row.used or 0.0) > TOUCH_EVERY:
        store.access.touch_key(row.id, now)
    return Caller(row.owner, row.role, row.id)
