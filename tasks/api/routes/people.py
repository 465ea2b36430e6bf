"""People with their consents and identities; erasing them."""

from fastapi import APIRouter, Response

from tasks import schemas
from tasks.api import serializers
from tasks.api.context import ActOnce, AnId, Cursor, Guarded, Limit, Office, TheCaller, TheOffice, made
from tasks.api.problems import documented
from tasks.ledger.rows import PersonRow

router = APIRouter(prefix="/people", tags=["people"], route_class=Guarded)


@router.post("", status_code=201, response_model=schemas.Person, responses=documented(401, 409, 422))
def add_person(order: schemas.PersonOrder, office: TheOffice, caller: TheCaller, once: ActOnce) -> Response:
    """Somebody to draw, with the record of their consent."""

    def act() -> Response:
        given, most = order.consent, office.tasks.quotas.people
        row = office.store.people.add(caller.owner, order.name, given.text_version, given.given_by, office.now(), most)
        return made(_person(office, row), f"/v1/people/{row.id}")

    return once(act)


@router.get("", responses=documented(401, 422))
def list_people(
    office: TheOffice, caller: TheCaller, cursor: Cursor = None, limit: Limit = 50
) -> schemas.Page[schemas.Person]:
    """Your people, the newest first."""
    page = office.store.people.list(caller.owner, cursor, limit)
    about = office.store.people.about(page.items)
    days = office.tasks.retention_days
    items = [serializers.person(row, about[row.id], days) for row in page.items]
    return schemas.Page(items=items, next=page.next)


@router.get("/{id}", responses=documented(401, 404, 410, 422))
def get_person(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Person:
    """One person."""
    return _person(office, office.store.people.get(caller.owner, id))


@router.patch("/{id}", responses=documented(401, 404, 410, 422))
def rename_person(id: AnId, change: schemas.PersonChange, office: TheOffice, caller: TheCaller) -> schemas.Person:
    """Call a person by another name."""
    return _person(office, office.store.people.rename(caller.owner, id, change.name))


@router.delete("/{id}", responses=documented(401, 404, 410, 422))
def erase_person(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Erased:
    """Erase a person and everything made from their photos; says what went."""
    gone = office.store.people.erase(caller.owner, id, office.now())
    files = office.files.erase_person(caller.owner, id, gone.jobs)
    return schemas.Erased(
        people=list(gone.people),
        selfies=list(gone.selfies),
        portraits=list(gone.portraits),
        jobs=list(gone.jobs),
        files=files,
    )


@router.get("/{id}/consents", responses=documented(401, 404, 410, 422))
def list_consents(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Page[schemas.Consent]:
    """What was agreed to, the oldest first."""
    rows = office.store.people.consents(caller.owner, id)
    return schemas.Page(items=[serializers.consent(row) for row in rows], next=None)


@router.post(
    "/{id}/consents", status_code=201, response_model=schemas.Consent, responses=documented(401, 404, 409, 410, 422)
)
def consent_again(
    id: AnId, given: schemas.ConsentGiven, office: TheOffice, caller: TheCaller, once: ActOnce
) -> Response:
    """Agree once more, after withdrawing or to a newer text."""

    def act() -> Response:
        row = office.store.people.consent_again(caller.owner, id, given.text_version, given.given_by, office.now())
        return made(serializers.consent(row), f"/v1/people/{id}/consents")

    return once(act)


@router.delete("/{id}/consents", status_code=204, responses=documented(401, 404, 410, 422))
def withdraw_consent(id: AnId, office: TheOffice, caller: TheCaller) -> None:
    """Take consent back: nothing more is made of the person. What there is stays until it is erased."""
    office.store.people.withdraw(caller.owner, id, office.now())


@router.get("/{id}/identities", responses=documented(401, 404, 410, 422))
def list_identities(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Page[schemas.Identity]:
    """What the person can be drawn from, the newest first."""
    rows = office.store.people.identities(caller.owner, id)
    items = [
        schemas.Identity(id=row.id, person=row.person, created=serializers.moment(row.created), base=row.base)
        for row in rows
    ]
    return schemas.Page(items=items, next=None)


def _person(office: Office, row: PersonRow) -> schemas.Person:
    about = office.store.people.about([row])[row.id]
    return serializers.person(row, about, office.tasks.retention_days)
