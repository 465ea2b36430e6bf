"""The part of the client that is about who may do what: signing in, keys, sessions, owners, the audit log."""

from tasks import schemas
from tasks.client.transport import TRIES, HttpTransport

_PAGE = 100


class AccessClient:
    """Methods for signing in, keys and sessions, and for owners where the key is an admin's."""

    _http: HttpTransport

    def sign_in(self, code: str) -> schemas.KeyWithSecret:
        """Exchange a one-time code for a key; not retried, because a code works once."""
        return self._http.send(schemas.KeyWithSecret, "POST", "/sign-in", tries=1, json={"code": code})

    def add_key(self, order: schemas.KeyRequest) -> schemas.KeyWithSecret:
        """Create a key; not retried, because each answer holds another one."""
        return self._http.send(schemas.KeyWithSecret, "POST", "/keys", tries=1, json=order.model_dump(mode="json"))

    def keys(self) -> list[schemas.Key]:
        """Keys without their secrets: the caller's own, or everybody's for an admin."""
        return self._http.list(schemas.Key, "/keys")

    def revoke_key(self, id: str) -> None:
        """Revoke a key."""
        self._http.request("DELETE", f"/keys/{id}")

    def open_session(
        self, code: str | None = None, key: str | None = None, oidc: schemas.OidcSignIn | None = None
    ) -> schemas.SessionWithSecret:
        """Sign in with exactly one of them; not retried, because a code works once."""
        order = schemas.SessionRequest(code=code, key=key, oidc=oidc).model_dump(mode="json")
        return self._http.send(schemas.SessionWithSecret, "POST", "/sessions", tries=1, json=order)

    def device_code(self) -> schemas.Invitation:
        """A one-time code that signs the caller in on another device within five minutes; not retried."""
        return self._http.send(schemas.Invitation, "POST", "/sessions/codes", tries=1)

    def sessions(self) -> list[schemas.Session]:
        """The caller's sessions, the newest first."""
        return self._http.list(schemas.Session, "/sessions")

    def end_session(self, id: str) -> None:
        """End one session."""
        self._http.request("DELETE", f"/sessions/{id}")

    def end_current_session(self) -> None:
        """Sign out; sent once, because nobody is signed in afterwards."""
        self._http.request("DELETE", "/sessions/current", tries=1)

    def end_all_sessions(self, keys: bool = False) -> None:
        """Sign out everywhere, with `keys` also every program; sent once, because nobody is signed in afterwards."""
        self._http.request("DELETE", "/sessions", tries=1, params={"keys": keys} if keys else {})

    def oidc(self, tries: int = TRIES) -> schemas.OidcStatus:
        """Whether people can sign in with an OpenID provider."""
        return self._http.get(schemas.OidcStatus, "/oidc", tries=tries)

    def start_oidc(self, redirect_uri: str) -> schemas.OidcAuthorization:
        """Begin to sign in with the provider, which sends the browser back to that address."""
        order = schemas.OidcRequest(redirect_uri=redirect_uri).model_dump(mode="json")
        return self._http.send(schemas.OidcAuthorization, "POST", "/oidc/authorizations", tries=1, json=order)

    def owners(self) -> list[schemas.Owner]:
        """Every owner, in the order of their names; for admins."""
        return self._http.list(schemas.Owner, "/operator/owners")

    def invite(self, owner: str, role: schemas.Role = "person") -> schemas.Invitation:
        """Make a code that signs an owner in once; not retried, because each answer holds another one. For admins."""
        order = schemas.InvitationRequest(owner=owner, role=role).model_dump(mode="json")
        return self._http.send(schemas.Invitation, "POST", "/operator/invitations", tries=1, json=order)

    def owner_quotas(self, id: str) -> schemas.Quotas:
        """The quotas of an owner and their use; for admins."""
        return self._http.get(schemas.Quotas, f"/operator/owners/{id}/quotas")

    def sign_owner_out(self, id: str, keys: bool = False) -> schemas.SignedOut:
        """End every session of an owner, with `keys` revoke every key; for admins."""
        return self._http.send(
            schemas.SignedOut, "POST", f"/operator/owners/{id}/sign-out", params={"keys": keys} if keys else {}
        )

    def disable_owner(self, id: str) -> schemas.Owner:
        """Let an owner in no more; for admins."""
        return self._http.post(schemas.Owner, f"/operator/owners/{id}/disable")

    def enable_owner(self, id: str) -> schemas.Owner:
        """Let an owner in again; for admins."""
        return self._http.post(schemas.Owner, f"/operator/owners/{id}/enable")

    def remove_owner(self, id: str) -> schemas.Erasure:
        """Remove an owner with everything that is kept of them; returns the receipt. For admins."""
        return self._http.send(schemas.Erasure, "DELETE", f"/operator/owners/{id}", tries=1)

    def audit(self, action: str = "", actor: str = "", limit: int = 200) -> list[schemas.AuditEntry]:
        """The newest entries of the audit log, page by page up to `limit`; for admins."""
        entries: list[schemas.AuditEntry] = []
        params: dict[str, str | int] = {"action": action, "actor": actor}
        while len(entries) < limit:
            params["limit"] = min(_PAGE, limit - len(entries))
            page = self._http.get(schemas.Page[schemas.AuditEntry], "/operator/audit", params=params)
            entries += page.items
            if page.next is None:
                break
            params["cursor"] = page.next
        return entries
