"""The client's methods of people: consents, photos, and the identities that were made of them."""

from collections.abc import Mapping
from typing import Any, Literal

from tasks import schemas
from tasks.client.calls import call
from tasks.client.steps import Files, Steps, act, get, listed, picture, post, send, upload


class PeopleClient:
    """Methods of `tasks.client.client.Client`."""

    @call
    def consent_text(self, language: str = "en") -> Steps[schemas.ConsentText]:
        """The present text of consent, to be shown before somebody agrees."""
        return get(schemas.ConsentText, "/consent-text", params={"language": language})

    @call
    def add_person(self, name: str, text_version: str, given_by: str, **stated: Any) -> Steps[schemas.Person]:
        """Add a person, with the version of the consent text and who agreed to it; `stated` as in `ConsentRequest`."""
        given = schemas.ConsentRequest(agreed=True, text_version=text_version, given_by=given_by, **stated)
        return post(schemas.Person, "/people", schemas.PersonRequest(name=name, consent=given))

    @call
    def people(self) -> Steps[list[schemas.Person]]:
        """The caller's people, the newest first."""
        return listed(schemas.Person, "/people")

    @call
    def person(self, id: str) -> Steps[schemas.Person]:
        """One person."""
        return get(schemas.Person, f"/people/{id}")

    @call
    def rename_person(self, id: str, name: str) -> Steps[schemas.Person]:
        """Change a person's name."""
        return send(schemas.Person, "PATCH", f"/people/{id}", json={"name": name})

    @call
    def choose_traits(self, id: str, traits: Mapping[str, str]) -> Steps[schemas.Person]:
        """Say what captions and prompts are to say of a person, by trait (`schemas.Traits`); the others are not said."""
        return send(schemas.Person, "PATCH", f"/people/{id}", json={"traits": dict(traits)})

    @call
    def erase_person(self, id: str) -> Steps[schemas.Erased]:
        """Erase a person and everything made from their photos."""
        return send(schemas.Erased, "DELETE", f"/people/{id}", tries=1)

    @call
    def consents(self, person: str) -> Steps[list[schemas.Consent]]:
        """Records of consent, the oldest first."""
        return listed(schemas.Consent, f"/people/{person}/consents")

    @call
    def consent_again(self, person: str, text_version: str, given_by: str, **stated: Any) -> Steps[schemas.Consent]:
        """Record consent again, after it was withdrawn or to a newer text; `stated` as in `ConsentRequest`."""
        given = schemas.ConsentRequest(agreed=True, text_version=text_version, given_by=given_by, **stated)
        return post(schemas.Consent, f"/people/{person}/consents", given)

    @call
    def withdraw_consent(self, person: str) -> Steps[None]:
        """Withdraw consent: nothing more is made of the person."""
        return act("DELETE", f"/people/{person}/consents")

    @call
    def add_selfies(self, person: str, files: Files) -> Steps[schemas.SelfieUploadResult]:
        """Upload photos; those that cannot be read are listed by name in `refused`."""
        return upload(schemas.SelfieUploadResult, f"/people/{person}/selfies", files)

    @call
    def selfies(self, person: str) -> Steps[list[schemas.Selfie]]:
        """A person's photos with their verdicts."""
        return listed(schemas.Selfie, f"/people/{person}/selfies")

    @call
    def selfie(self, id: str) -> Steps[schemas.Selfie]:
        """One photo with its verdict."""
        return get(schemas.Selfie, f"/selfies/{id}")

    @call
    def set_override(self, selfie: str, override: schemas.PhotoOverride) -> Steps[schemas.Selfie]:
        """Include or exclude a photo, or (empty) leave the choice to the training."""
        return send(schemas.Selfie, "PATCH", f"/selfies/{selfie}", json={"wish": override})

    @call
    def delete_selfie(self, id: str, learned: Literal["keep", "erase"] = "keep") -> Steps[None]:
        """Delete a photo and its crops, and on demand the LoRAs that were trained on it."""
        return act("DELETE", f"/selfies/{id}", params={"learned": learned})

    @call
    def choose_face(self, selfie: str, x: float, y: float) -> Steps[schemas.Selfie]:
        """Say which face of a photo is the person's, by a point in it (shares of width and height, 0..1)."""
        return send(schemas.Selfie, "PATCH", f"/selfies/{selfie}", json={"face": {"x": x, "y": y}})

    @call
    def clear_face(self, selfie: str) -> Steps[schemas.Selfie]:
        """Take back which face of a photo is the person's."""
        return send(schemas.Selfie, "DELETE", f"/selfies/{selfie}/face")

    @call
    def remove_selfie(self, id: str) -> Steps[None]:
        """Delete a photo so that `restore_selfie` brings it back for some seconds."""
        return act("DELETE", f"/selfies/{id}", params={"undo": True})

    @call
    def restore_selfie(self, id: str) -> Steps[schemas.Selfie]:
        """Bring a photo back; raises `erased` when it is too late."""
        return send(schemas.Selfie, "POST", f"/selfies/{id}/restore")

    @call
    def identities(self, person: str) -> Steps[list[schemas.Identity]]:
        """What a person can be drawn from, the newest first."""
        return listed(schemas.Identity, f"/people/{person}/identities")

    @call
    def delete_identity(self, id: str) -> Steps[None]:
        """Delete an identity: a LoRA, or where photos were judged alone their crops and references."""
        return act("DELETE", f"/identities/{id}")

    @call
    def selfie_file(self, id: str, side: int | None = None) -> Steps[bytes]:
        """A photo as it was uploaded, or as a JPEG with a long side of `side` pixels."""
        return picture(f"/selfies/{id}/file", side)

    @call
    def selfie_crop(self, id: str, side: int | None = None) -> Steps[bytes]:
        """The training crop of a photo; raises `not_found` for one that was not used."""
        return picture(f"/selfies/{id}/crop", side)
