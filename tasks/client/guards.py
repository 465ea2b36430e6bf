"""The client's methods of guards, for operators: faces that are never drawn, and people who may be children."""

from typing import BinaryIO

from tasks import schemas
from tasks.client.calls import call
from tasks.client.steps import Steps, act, listed, send


class GuardsClient:
    """Methods of `tasks.client.client.Client`."""

    @call
    def blocked_people(self) -> Steps[list[schemas.BlockedPerson]]:
        """Faces that are never drawn, the newest first."""
        return listed(schemas.BlockedPerson, "/operator/blocked-people")

    @call
    def block_face(self, name: str, content: BinaryIO | bytes, note: str) -> Steps[schemas.BlockedPerson]:
        """Never draw the face of a photo, which is not kept; raises `no_single_face`."""
        options = {"files": {"file": (name, content)}, "params": {"note": note}}
        return send(schemas.BlockedPerson, "POST", "/operator/blocked-people", timeout=180, **options)

    @call
    def block_person(self, owner: str, person: str, note: str) -> Steps[schemas.BlockedPerson]:
        """Never draw somebody again whose photos are here; raises `not_prepared`."""
        order = schemas.BlockRequest(owner=owner, person=person, note=note).model_dump(mode="json")
        return send(schemas.BlockedPerson, "POST", "/operator/blocked-people/from-person", json=order)

    @call
    def unblock_person(self, id: str) -> Steps[None]:
        """Let somebody be drawn again."""
        return act("DELETE", f"/operator/blocked-people/{id}")

    @call
    def age_questions(self) -> Steps[list[schemas.AgeQuestion]]:
        """People for whom a parent or guardian is asked, the newest first."""
        return listed(schemas.AgeQuestion, "/operator/ages")

    @call
    def settle_age(self, person: str) -> Steps[None]:
        """Note that a person is an adult."""
        return act("PUT", f"/operator/ages/{person}/adult")
