"""Keys, webhooks and the calls they make."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tasks.schemas.shared import Asked, EventName, Line, Role, Said


class SignIn(Asked):
    """A one-time code, as `portrait serve` prints it."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class KeyOrder(Asked):
    """A new key; only an admin may name another owner or a role above their own."""

    name: Line = Field("key", examples=["laptop"])
    owner: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["ann"])
    role: Role = "person"


class Key(Said):
    """A key without its secret."""

    id: str
    owner: str
    name: str
    role: Role
    created: datetime
    used: datetime | None
    expires: datetime | None
    revoked: datetime | None


class KeyMade(Key):
    """A key the one time its secret is told."""

    secret: str = Field(description="Send it as `Authorization: Bearer …`. It cannot be shown again.")


class WebhookOrder(Asked):
    """Where to call when a job ends."""

    url: Annotated[str, StringConstraints(min_length=8, max_length=2000, pattern=r"^https?://[^\s\x00-\x1f]+$")] = (
        Field(examples=["https://example.org/portraits"])
    )
    events: list[EventName] = Field([], max_length=10, description="Empty means all.")


class Webhook(Said):
    """A webhook without its secret."""

    id: str
    url: str
    events: list[str]
    created: datetime
    disabled: datetime | None
    why_disabled: str


class WebhookMade(Webhook):
    """A webhook the one time its secret is told."""

    secret: str = Field(description="Verifies the signature (Standard Webhooks). It cannot be shown again.")


class Delivery(Said):
    """One call and what became of it."""

    id: str
    webhook: str
    event: str
    state: Literal["waiting", "delivered", "given_up"]
    attempts: int
    due: datetime
    status: int | None
    answer: str
    created: datetime
    ended: datetime | None
