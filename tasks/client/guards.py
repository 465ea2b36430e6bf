"""The client's methods of guards, for operators: faces that are never drawn, and people who may be children."""

from typing import BinaryIO

from tasks import schemas
from tasks.client.transport import HttpTransport


class GuardsClient:
    """Methods of `tasks.client.client.Client`."""

    _http: HttpTransport

    def blocked_people(self) -> list[schemas.BlockedPerson]:
        """Faces that are never drawn, the newest first."""
        return self._http.list(schemas.BlockedPerson, "/operator/blocked-people")

    def block_face(self, name: str, content: BinaryIO | bytes, note: str) -> schemas.BlockedPerson:
        """Never draw the face of a photo, which is not kept; raises `no_single_face`."""
        options = {"files": {"file": (name, content)}, "params": {"note": note}}
        return self._http.send(
            schemas.BlockedPerson, "POST", "/operator/blocked-people", tries=1, timeout=180, **options
        )

    def block_person(self, owner: str, person: str, note: str) -> schemas.BlockedPerson:
        """Never draw somebody again whose photos are here; raises `not_prepared`."""
        order = schemas.BlockRequest(owner=owner, person=person, note=note).model_dump(mode="json")
        return self._http.send(
            schemas.BlockedPerson, "POST", "/operator/blocked-people/from-person", tries=1, json=order
        )

    def unblock_person(self, id: str) -> None:
        """Let somebody be drawn again."""
        self._http.request("DELETE", f"/operator/blocked-people/{id}")

    def age_questions(self) -> list[schemas.AgeQuestion]:
        """People for whom a parent or guardian is asked, the newest first."""
        return self._http.list(schemas.AgeQuestion, "/operator/ages")

    def settle_age(self, person: str) -> None:
        """Note that a person is an adult."""
        self._http.request("PUT", f"/operator/ages/{person}/adult")
