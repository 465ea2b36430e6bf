"""Routes of people: create, list, rename, erase; their consents and identities."""

from dataclasses import asdict

from fastapi import APIRouter, Response

from tasks import schemas
from tasks.api import serializers
from tasks.api.context import (
    AppContext,
    AuthenticatedRoute,
    CallerDep,
    ContextDep,
    IdempotencyDep,
    PagingDep,
    PathId,
    created,
)
from tasks.api.problems import problem_responses
from tasks.ledger.rows import PersonRow

router = APIRouter(prefix="/people", tags=["people"], route_class=AuthenticatedRoute)


@router.post("", status_code=201, response_model=schemas.Person, responses=problem_responses(401, 409, 422))
def create_person(
    body: schemas.PersonRequest, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep
) -> Response:
    """Add a person, with the record of their consent."""

    def create() -> Response:
        consent, most, now = body.consent, context.tasks.quotas.people, context.now()
        row = context.ledger.people.add(caller.owner, body.name, consent.text_version, consent.given_by, now, most)
        return created(_person(context, row), f"/v1/people/{row.id}")

    return idempotency.run(create)


@router.get("", responses=problem_responses(401, 422))
def list_people(context: ContextDep, caller: CallerDep, paging: PagingDep) -> schemas.Page[schemas.Person]:
    """The caller's people, the newest first."""
    page = context.ledger.people.list(caller.owner, paging.cursor, paging.limit)
    summaries = context.ledger.people.summarize(page.items)
    days = context.tasks.retention_days
    items = [serializers.serialize_person(row, summaries[row.id], days) for row in page.items]
    return schemas.Page(items=items, next=page.next)


@router.get("/{id}", responses=problem_responses(401, 404, 410, 422))
def get_person(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Person:
    """One person."""
    return _person(context, context.ledger.people.get(caller.owner, id))


@router.patch("/{id}", responses=problem_responses(401, 404, 410, 422))
def rename_person(id: PathId, body: schemas.PersonUpdate, context: ContextDep, caller: CallerDep) -> schemas.Person:
    """Change a person's name."""
    return _person(context, context.ledger.people.rename(caller.owner, id, body.name))


@router.delete("/{id}", responses=problem_responses(401, 404, 410, 422))
def erase_person(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Erased:
    """Erase a person and everything made from their photos; returns the ids of what was erased."""
    erased = context.ledger.people.erase(caller.owner, id, context.now())
    files = context.files.erase_person(caller.owner, id, erased.jobs)
    return schemas.Erased.model_validate({**asdict(erased), "files": files})


@router.get("/{id}/consents", responses=problem_responses(401, 404, 410, 422))
def list_consents(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Page[schemas.Consent]:
    """Records of consent, the oldest first."""
    rows = context.ledger.people.consents(caller.owner, id)
    return schemas.Page[schemas.Consent].model_validate({"items": rows})


@router.post(
    "/{id}/consents",
    status_code=201,
    response_model=schemas.Consent,
    responses=problem_responses(401, 404, 409, 410, 422),
)
def add_consent(
    id: PathId, body: schemas.ConsentRequest, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep
) -> Response:
    """Record consent again, after it was withdrawn or to a newer text."""

    def create() -> Response:
        row = context.ledger.people.add_consent(caller.owner, id, body.text_version, body.given_by, context.now())
        return created(schemas.Consent.model_validate(row), f"/v1/people/{id}/consents")

    return idempotency.run(create)


@router.delete("/{id}/consents", status_code=204, responses=problem_responses(401, 404, 410, 422))
def withdraw_consent(id: PathId, context: ContextDep, caller: CallerDep) -> None:
    """Withdraw consent: nothing more is made of the person. What exists stays until it is erased."""
    context.ledger.people.withdraw(caller.owner, id, context.now())


@router.get("/{id}/identities", responses=problem_responses(401, 404, 410, 422))
def list_identities(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Page[schemas.Identity]:
    """Identities that the person can be drawn from, the newest first."""
    rows = context.ledger.people.identities(caller.owner, id)
    return schemas.Page[schemas.Identity].model_validate({"items": rows})


def _person(context: AppContext, row: PersonRow) -> schemas.Person:
    summary = context.ledger.people.summarize([row])[row.id]
    return serializers.serialize_person(row, summary, context.tasks.retention_days)
