"""The client's methods of people: consents, photos, and the identities that were made of them."""

from collections.abc import Mapping
from typing import Any, Literal

from tasks import schemas
from tasks.client.transport import Files, HttpTransport


class PeopleClient:
    """Methods of `tasks.client.client.Client`."""

    _http: HttpTransport

    def consent_text(self, language: str = "en") -> schemas.ConsentText:
        """The present text of consent, to be shown before somebody agrees."""
        return self._http.get(schemas.ConsentText, "/consent-text", params={"language": language})

    def add_person(self, name: str, text_version: str, given_by: str, **stated: Any) -> schemas.Person:
        """Add a person, with the version of the consent text and who agreed to it; `stated` as in `ConsentRequest`."""
        given = schemas.ConsentRequest(agreed=True, text_version=text_version, given_by=given_by, **stated)
        return self._http.post(schemas.Person, "/people", schemas.PersonRequest(name=name, consent=given))

    def people(self) -> list[schemas.Person]:
        """The caller's people, the newest first."""
        return self._http.list(schemas.Person, "/people")

    def person(self, id: str) -> schemas.Person:
        """One person."""
        return self._http.get(schemas.Person, f"/people/{id}")

    def rename_person(self, id: str, name: str) -> schemas.Person:
        """Change a person's name."""
        return self._http.send(schemas.Person, "PATCH", f"/people/{id}", json={"name": name})

    def choose_traits(self, id: str, traits: Mapping[str, str]) -> schemas.Person:
        """Say what captions and prompts are to say of a person, by trait (`schemas.Traits`); the others are not said."""
        return self._http.send(schemas.Person, "PATCH", f"/people/{id}", json={"traits": dict(traits)})

    def erase_person(self, id: str) -> schemas.Erased:
        """Erase a person and everything made from their photos."""
        return self._http.send(schemas.Erased, "DELETE", f"/people/{id}", tries=1)

    def consents(self, person: str) -> list[schemas.Consent]:
        """Records of consent, the oldest first."""
        return self._http.list(schemas.Consent, f"/people/{person}/consents")

    def consent_again(self, person: str, text_version: str, given_by: str, **stated: Any) -> schemas.Consent:
        """Record consent again, after it was withdrawn or to a newer text; `stated` as in `ConsentRequest`."""
        given = schemas.ConsentRequest(agreed=True, text_version=text_version, given_by=given_by, **stated)
        return self._http.post(schemas.Consent, f"/people/{person}/consents", given)

    def withdraw_consent(self, person: str) -> None:
        """Withdraw consent: nothing more is made of the person."""
        self._http.request("DELETE", f"/people/{person}/consents")

    def add_selfies(self, person: str, files: Files) -> schemas.SelfieUploadResult:
        """Upload photos; those that cannot be read are listed by name in `refused`."""
        return self._http.upload(schemas.SelfieUploadResult, f"/people/{person}/selfies", files)

    def selfies(self, person: str) -> list[schemas.Selfie]:
        """A person's photos with their verdicts."""
        return self._http.list(schemas.Selfie, f"/people/{person}/selfies")

    def set_override(self, selfie: str, override: schemas.PhotoOverride) -> schemas.Selfie:
        """Include or exclude a photo, or (empty) leave the choice to the training."""
        return self._http.send(schemas.Selfie, "PATCH", f"/selfies/{selfie}", json={"wish": override})

    def delete_selfie(self, id: str, learned: Literal["keep", "erase"] = "keep") -> None:
        """Delete a photo and its crops, and on demand the LoRAs that were trained on it."""
        self._http.request("DELETE", f"/selfies/{id}", params={"learned": learned})

    def choose_face(self, selfie: str, x: float, y: float) -> schemas.Selfie:
        """Say which face of a photo is the person's, by a point in it (shares of width and height, 0..1)."""
        return self._http.send(schemas.Selfie, "PATCH", f"/selfies/{selfie}", json={"face": {"x": x, "y": y}})

    def clear_face(self, selfie: str) -> schemas.Selfie:
        """Take back which face of a photo is the person's."""
        return self._http.send(schemas.Selfie, "DELETE", f"/selfies/{selfie}/face")

    def remove_selfie(self, id: str) -> None:
        """Delete a photo so that `restore_selfie` brings it back for some seconds."""
        self._http.request("DELETE", f"/selfies/{id}", params={"undo": True})

    def restore_selfie(self, id: str) -> schemas.Selfie:
        """Bring a photo back; raises `erased` when it is too late."""
        return self._http.send(schemas.Selfie, "POST", f"/selfies/{id}/restore")

    def identities(self, person: str) -> list[schemas.Identity]:
        """What a person can be drawn from, the newest first."""
        return self._http.list(schemas.Identity, f"/people/{person}/identities")

    def delete_identity(self, id: str) -> None:
        """Delete an identity: a LoRA, or where photos were judged alone their crops and references."""
        self._http.request("DELETE", f"/identities/{id}")

    def selfie_file(self, id: str, side: int | None = None) -> bytes:
        """A photo as it was uploaded, or as a JPEG with a long side of `side` pixels."""
        return self._http.picture(f"/selfies/{id}/file", side)

    def selfie_crop(self, id: str, side: int | None = None) -> bytes:
        """The training crop of a photo; raises `not_found` for one that was not used."""
        return self._http.picture(f"/selfies/{id}/crop", side)
