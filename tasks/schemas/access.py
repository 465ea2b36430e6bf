"""Schemas of who may do what, and who did: sessions, sign-in with a provider, owners, the audit log."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from tasks.schemas.shared import RequestBody, ResponseBody, Role, Timestamp

Secret = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class OidcSignIn(RequestBody):
    """What an OpenID provider sent back to the browser, with the `binding` that the browser kept."""

    state: Secret
    code: Annotated[str, StringConstraints(min_length=1, max_length=4000)]
    binding: Annotated[str, StringConstraints(min_length=1, max_length=4000)]


class SessionRequest(RequestBody):
    """A new session, for exactly one of: a one-time code, a key, what a provider sent back."""

    code: Secret | None = Field(None, description="A one-time code: `portrait keys link`.")
    key: Secret | None = Field(None, description="A key of the caller's; the session ends with it.")
    oidc: OidcSignIn | None = None

    @model_validator(mode="after")
    def _one(self) -> "SessionRequest":
        if sum(each is not None for each in (self.code, self.key, self.oidc)) != 1:
            raise ValueError("Give exactly one of `code`, `key` and `oidc`.")
        return self


class Session(ResponseBody):
    """A session without its secret."""

    id: str
    owner: str
    role: Role
    created: Timestamp
    used: Timestamp = Field(description="Within a minute.")
    expires: Timestamp = Field(description="When it ends at the latest; it ends sooner when it is not used.")
    current: bool = Field(False, description="Whether this request was made with it.")


class SessionWithSecret(Session):
    """A new session with its secret, which is sent once."""

    secret: str = Field(description="Send it as `Authorization: Bearer …`. It cannot be shown again.")


class OidcStatus(ResponseBody):
    """Whether people can sign in with an OpenID provider."""

    enabled: bool
    name: str = Field(description="What people call the provider.")


class OidcRequest(RequestBody):
    """The address that the provider shall send the browser back to; it must be registered there."""

    redirect_uri: Annotated[
        str, StringConstraints(min_length=8, max_length=2000, pattern=r"^https?://[^\s\x00-\x1f]+$")
    ] = Field(examples=["https://portraits.example.org/sign-in/oidc"])


class OidcAuthorization(ResponseBody):
    """Where to send the browser, and what it must keep to come back."""

    url: str
    state: str
    binding: str = Field(description="Keep it in a cookie of this browser: no other one can finish this sign-in.")


class Owner(ResponseBody):
    """An owner, as admins see them."""

    id: str
    created: Timestamp
    disabled: Timestamp | None = Field(description="Since when nothing of theirs opens anything.")
    keys: int = Field(description="Valid keys.")
    sessions: int
    people: int
    used: Timestamp | None = Field(description="When a key or session was last used.")


class InvitationRequest(RequestBody):
    """An invitation for an owner, who may be new."""

    owner: str = Field(max_length=64, pattern=r"^[A-Za-z0-9](?:\.?[A-Za-z0-9_-]){0,63}$", examples=["ann"])
    role: Role = "person"


class Invitation(ResponseBody):
    """A one-time code for the page `/sign-in?code=…` of the app, which is sent once."""

    owner: str
    role: Role
    code: str
    expires: Timestamp


class SignedOut(ResponseBody):
    """What an owner was signed out of."""

    sessions: int
    keys: int = Field(0, description="Keys that were revoked.")


class AuditEntry(ResponseBody):
    """One entry of the audit log: who did what to what; no content."""

    id: str
    at: Timestamp
    actor: str = Field(description="`OWNER:ID` of the key or session, or `system`.", examples=["ann:key_0123"])
    action: str = Field(examples=["key.created"])
    subject: str
    detail: dict[str, str | int]
