"""The client's methods of privacy: export, erasure and its receipts, of the caller and, for admins, of others."""

from collections.abc import Iterator

from tasks import schemas
from tasks.client.transport import HttpTransport


class PrivacyClient:
    """Methods of `tasks.client.client.Client`."""

    _http: HttpTransport

    def export(self) -> Iterator[bytes]:
        """Everything that is kept of the caller as a zip, in chunks."""
        return self._http.stream_bytes("/me/export", {})

    def erase_me(self, account: bool = False) -> schemas.Erased:
        """Erase everything of the caller's; with `account` also the key or session that asks."""
        return self._http.send(schemas.Erased, "DELETE", "/me", tries=1, params={"account": account})

    def erasures(self) -> list[schemas.Erasure]:
        """Receipts of what was erased, the newest first."""
        return self._http.list(schemas.Erasure, "/me/erasures")

    def erasure(self, id: str) -> schemas.Erasure:
        """The receipt of one erasure."""
        return self._http.get(schemas.Erasure, f"/me/erasures/{id}")

    def export_owner(self, owner: str) -> Iterator[bytes]:
        """Everything that is kept of an owner as a zip, in chunks, for admins."""
        return self._http.stream_bytes(f"/operator/owners/{owner}/export", {})

    def erase_for(self, owner: str, person: str | None = None) -> schemas.Erasure:
        """Erase a person of an owner, or everything of the owner, for admins."""
        order = schemas.ErasureRequest(owner=owner, person=person).model_dump(mode="json")
        return self._http.send(schemas.Erasure, "POST", "/operator/erasures", tries=1, json=order)

    def all_erasures(self, owner: str = "") -> list[schemas.Erasure]:
        """Receipts of everybody, or of one owner, for admins."""
        return self._http.list(schemas.Erasure, "/operator/erasures", {"owner": owner} if owner else {})
