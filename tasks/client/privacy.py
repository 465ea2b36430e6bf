"""The client's methods of privacy: export, erasure and its receipts, of the caller and, for admins, of others."""

from tasks import schemas
from tasks.client.calls import File, call, chunks
from tasks.client.steps import Steps, get, listed, send


class PrivacyClient:
    """Methods of `tasks.client.client.Client`."""

    @chunks
    def export(self) -> File:
        """Everything that is kept of the caller as a zip, in chunks."""
        return ("/me/export", {})

    @call
    def erase_me(self, account: bool = False) -> Steps[schemas.Erased]:
        """Erase everything of the caller's; with `account` also the key or session that asks."""
        return send(schemas.Erased, "DELETE", "/me", tries=1, params={"account": account})

    @call
    def erasures(self) -> Steps[list[schemas.Erasure]]:
        """Receipts of what was erased, the newest first."""
        return listed(schemas.Erasure, "/me/erasures")

    @call
    def erasure(self, id: str) -> Steps[schemas.Erasure]:
        """The receipt of one erasure."""
        return get(schemas.Erasure, f"/me/erasures/{id}")

    @chunks
    def export_owner(self, owner: str) -> File:
        """Everything that is kept of an owner as a zip, in chunks, for admins."""
        return (f"/operator/owners/{owner}/export", {})

    @call
    def erase_for(self, owner: str, person: str | None = None) -> Steps[schemas.Erasure]:
        """Erase a person of an owner, or everything of the owner, for admins."""
        order = schemas.ErasureRequest(owner=owner, person=person).model_dump(mode="json")
        return send(schemas.Erasure, "POST", "/operator/erasures", json=order)

    @call
    def consent_proofs(
        self, owner: str = "", person: str = "", limit: int | None = None
    ) -> Steps[list[schemas.ConsentProof]]:
        """Who agreed to what and when, without names, all or the first `limit`; for admins."""
        return listed(schemas.ConsentProof, "/operator/consents", {"owner": owner, "person": person}, limit)

    @call
    def all_erasures(self, owner: str = "") -> Steps[list[schemas.Erasure]]:
        """Receipts of everybody, or of one owner, for admins."""
        return listed(schemas.Erasure, "/operator/erasures", {"owner": owner} if owner else {})
