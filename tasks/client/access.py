"""The part of the client that is about who may do what: signing in, keys, sessions, owners, the audit log."""

from tasks import schemas
from tasks.client.calls import call
from tasks.client.steps import TRIES, Steps, act, get, listed, post, send


class AccessClient:
    """Methods for signing in, keys and sessions, and for owners where the key is an admin's."""

    @call
    def sign_in(self, code: str) -> Steps[schemas.KeyWithSecret]:
        """Exchange a one-time code for a key; not sent twice, because a code works once."""
        return send(schemas.KeyWithSecret, "POST", "/sign-in", json={"code": code})

    @call
    def add_key(self, order: schemas.KeyRequest) -> Steps[schemas.KeyWithSecret]:
        """Create a key; not sent twice, because each answer holds another one."""
        return send(schemas.KeyWithSecret, "POST", "/keys", json=order.model_dump(mode="json"))

    @call
    def keys(self) -> Steps[list[schemas.Key]]:
        """Keys without their secrets: the caller's own, or everybody's for an admin."""
        return listed(schemas.Key, "/keys")

    @call
    def revoke_key(self, id: str) -> Steps[None]:
        """Revoke a key."""
        return act("DELETE", f"/keys/{id}")

    @call
    def open_session(
        self, code: str | None = None, key: str | None = None, oidc: schemas.OidcSignIn | None = None
    ) -> Steps[schemas.SessionWithSecret]:
        """Sign in with exactly one of them; not sent twice, because a code works once."""
        order = schemas.SessionRequest(code=code, key=key, oidc=oidc).model_dump(mode="json")
        return send(schemas.SessionWithSecret, "POST", "/sessions", json=order)

    @call
    def device_code(self) -> Steps[schemas.Invitation]:
        """A one-time code that signs the caller in on another device within five minutes; not sent twice."""
        return send(schemas.Invitation, "POST", "/sessions/codes")

    @call
    def sessions(self) -> Steps[list[schemas.Session]]:
        """The caller's sessions, the newest first."""
        return listed(schemas.Session, "/sessions")

    @call
    def end_session(self, id: str) -> Steps[None]:
        """End one session."""
        return act("DELETE", f"/sessions/{id}")

    @call
    def end_current_session(self) -> Steps[None]:
        """Sign out; sent once, because nobody is signed in afterwards."""
        return act("DELETE", "/sessions/current", tries=1)

    @call
    def end_all_sessions(self, keys: bool = False) -> Steps[None]:
        """Sign out everywhere, with `keys` also every program; sent once, because nobody is signed in afterwards."""
        return act("DELETE", "/sessions", tries=1, params={"keys": keys} if keys else {})

    @call
    def oidc(self, tries: int = TRIES) -> Steps[schemas.OidcStatus]:
        """Whether people can sign in with an OpenID provider."""
        return get(schemas.OidcStatus, "/oidc", tries=tries)

    @call
    def start_oidc(self, redirect_uri: str) -> Steps[schemas.OidcAuthorization]:
        """Begin to sign in with the provider, which sends the browser back to that address."""
        order = schemas.OidcRequest(redirect_uri=redirect_uri).model_dump(mode="json")
        return send(schemas.OidcAuthorization, "POST", "/oidc/authorizations", json=order)

    @call
    def owners(self) -> Steps[list[schemas.Owner]]:
        """Every owner, in the order of their names; for admins."""
        return listed(schemas.Owner, "/operator/owners")

    @call
    def invite(self, owner: str, role: schemas.Role = "person") -> Steps[schemas.Invitation]:
        """Make a code that signs an owner in once; not sent twice, because each answer holds another one. For admins."""
        order = schemas.InvitationRequest(owner=owner, role=role).model_dump(mode="json")
        return send(schemas.Invitation, "POST", "/operator/invitations", json=order)

    @call
    def owner_quotas(self, id: str) -> Steps[schemas.Quotas]:
        """The quotas of an owner and their use; for admins."""
        return get(schemas.Quotas, f"/operator/owners/{id}/quotas")

    @call
    def sign_owner_out(self, id: str, keys: bool = False) -> Steps[schemas.SignedOut]:
        """End every session of an owner, with `keys` revoke every key; for admins."""
        return send(schemas.SignedOut, "POST", f"/operator/owners/{id}/sign-out", params={"keys": keys} if keys else {})

    @call
    def disable_owner(self, id: str) -> Steps[schemas.Owner]:
        """Let an owner in no more; for admins."""
        return post(schemas.Owner, f"/operator/owners/{id}/disable")

    @call
    def enable_owner(self, id: str) -> Steps[schemas.Owner]:
        """Let an owner in again; for admins."""
        return post(schemas.Owner, f"/operator/owners/{id}/enable")

    @call
    def remove_owner(self, id: str) -> Steps[schemas.Erasure]:
        """Remove an owner with everything that is kept of them; returns the receipt. For admins."""
        return send(schemas.Erasure, "DELETE", f"/operator/owners/{id}", tries=1)

    @call
    def audit(self, action: str = "", actor: str = "", limit: int = 200) -> Steps[list[schemas.AuditEntry]]:
        """The newest entries of the audit log, page by page up to `limit`; for admins."""
        return listed(schemas.AuditEntry, "/operator/audit", {"action": action, "actor": actor}, limit)
