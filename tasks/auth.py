"""Authentication by API keys and one-time sign-in codes, and the roles of their owners.

A key is 256 random bits, shown once and stored as its SHA-256: there is nothing to guess, so a slow hash would only cost time.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass

from portrait.errors import UserError
from tasks.jobs import DAY
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.rows import ApiKeyRow, Role

ROLES: tuple[Role, ...] = ("person", "operator", "admin")
"""Each role includes those before it."""
OWNER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""The pattern of an owner's name, which names a folder."""
CODE_LIFETIME = 15 * 60.0
"""Seconds for which a one-time sign-in code is valid."""
SIGN_IN_LIFETIME = 30 * DAY
"""Seconds for which a key from a sign-in code is valid."""
TOUCH_INTERVAL = 60.0
"""Seconds between two writes of when a key was last used."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner and role behind a request."""

    owner: str
    role: Role
    key: str
    """Id of the key, not its secret."""

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


def create_key(ledger: Ledger, owner: str, name: str, role: Role, now: float, expires: float | None = None) -> NewKey:
    """Create a key; raises `UserError` (`bad_owner`, `bad_role`)."""
    _check_owner(owner)
    if role not in ROLES:
        raise UserError("bad_role", f"A role is one of {', '.join(ROLES)}.")
    secret = f"pk_{secrets.token_urlsafe(32)}"
    row = ApiKeyRow(new_id("key", now), owner, name, role, now, expires=expires)
    return NewKey(ledger.api_keys.add(row, hash_secret(secret)), secret)


def create_code(ledger: Ledger, owner: str, role: Role, now: float) -> str:
    """Create a one-time code that can be exchanged for a key within a quarter of an hour; raises `UserError` (`bad_owner`)."""
    _check_owner(owner)
    code = secrets.token_urlsafe(24)
    ledger.api_keys.add_code(owner, role, hash_secret(code), now + CODE_LIFETIME)
    return code


def _check_owner(owner: str) -> None:
    if not re.fullmatch(OWNER, owner):
        raise UserError("bad_owner", "An owner is named by up to 64 letters, digits, dots, hyphens and underscores.")


def sign_in(ledger: Ledger, code: str, now: float) -> NewKey:
    """Exchange a one-time code for a key; raises `UserError` (`bad_code`)."""
    found = ledger.api_keys.redeem_code(hash_secret(code), now)
    if found is None:
        raise UserError("bad_code", "This sign-in link was used already or is too old. Ask for a new one.")
    owner, role = found
    return create_key(ledger, owner, "sign-in link", role, now, now + SIGN_IN_LIFETIME)


def authenticate(ledger: Ledger, authorization: str, now: float) -> Caller:
    """Return the caller of an `Authorization` header; raises `UserError` (`unauthenticated`)."""
    kind, _, secret = authorization.partition(" ")
    row = ledger.api_keys.find(hash_secret(secret.strip()), now) if kind.lower() == "bearer" and secret else None
    if row is None:
        raise UserError("unauthenticated", "Send a valid key: `Authorization: Bearer pk_…`.")
    if now - (row.used or 0.0) > TOUCH_INTERVAL:
        ledger.api_keys.touch(row.id, now)
    return Caller(row.owner, row.role, row.id)
