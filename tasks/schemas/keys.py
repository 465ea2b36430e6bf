"""Schemas of API keys, webhooks and their deliveries."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from tasks.schemas.shared import EventName, Line, RequestBody, ResponseBody, Role, Timestamp


class SignIn(RequestBody):
    """A one-time code, from the sign-in link of `portrait serve`."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class KeyRequest(RequestBody):
    """A new key; only an admin may name another owner or a role other than `person`."""

    name: Line = Field("key", examples=["laptop"])
    owner: str | None = Field(None, max_length=64, pattern=r"^[A-Za-z0-9](?:\.?[A-Za-z0-9_-]){0,63}$", examples=["ann"])
    role: Role = "person"
    expires: AwareDatetime | None = Field(
        None, description="When it ends. A key ends with the key or session that made it at the latest."
    )


class Key(ResponseBody):
    """A key without its secret."""

    id: str
    owner: str
    name: str
    role: Role
    created: Timestamp
    used: Timestamp | None
    expires: Timestamp | None
    revoked: Timestamp | None
    made_by: str | None = Field(None, description="The key or session that made it; null for one from the terminal.")


class KeyWithSecret(Key):
    """A new key with its secret, which is sent once."""

    secret: str = Field(description="Send it as `Authorization: Bearer …`. It cannot be shown again.")


class WebhookRequest(RequestBody):
    """A new webhook: the address to call when a job ends."""

    url: Annotated[str, StringConstraints(min_length=8, max_length=2000, pattern=r"^https?://[^\s\x00-\x1f]+$")] = (
        Field(examples=["https://example.org/portraits"])
    )
    events: list[EventName] = Field([], max_length=10, description="Empty means all.")


class Webhook(ResponseBody):
    """A webhook without its secret."""

    id: str
    url: str
    events: list[str]
    created: Timestamp
    disabled: Timestamp | None
    why_disabled: str


class WebhookWithSecret(Webhook):
    """A new webhook with its signing secret, which is sent once."""

    secret: str = Field(description="Verifies the signature (Standard Webhooks). It cannot be shown again.")


class Delivery(ResponseBody):
    """A delivery: one call of a webhook and its outcome."""

    id: str
    webhook: str
    event: str
    state: Literal["waiting", "delivered", "given_up"]
    attempts: int
    due: Timestamp
    status: int | None
    answer: str
    created: Timestamp
    ended: Timestamp | None
