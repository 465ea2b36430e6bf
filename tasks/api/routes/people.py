"""Routes of people: create, list, rename, erase; their consents, the text of consent, and identities."""

from collections.abc import Sequence
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response

from portrait.errors import UserError
from tasks import auth, schemas
from tasks.api import serializers
from tasks.api.context import (
    AppContext,
    AuthenticatedRoute,
    CallerDep,
    ContextDep,
    IdempotencyDep,
    ListPagingDep,
    PagingDep,
    PathId,
    created,
    page_of,
)
from tasks.api.problems import problem_responses
from tasks.ledger.idempotency import id_of_kind
from tasks.ledger.people import Also
from tasks.ledger.privacy.consents import Statement
from tasks.ledger.rows import PersonRow

router = APIRouter(tags=["people"], route_class=AuthenticatedRoute)


@router.get("/consent-text", responses=problem_responses(401, 422))
def get_consent_text(
    context: ContextDep,
    _: CallerDep,
    language: Annotated[schemas.Language, Query(description="Another one where the text is not there in it.")] = "en",
) -> schemas.ConsentText:
    """The present text of consent, to be shown before somebody agrees, with the statements that belong to it."""
    return serializers.serialize_text(
        context.ledger.consents.current(language), context.tasks.retention_by_kind.people_days or 0.0
    )


@router.post("/people", status_code=201, response_model=schemas.Person, responses=problem_responses(401, 403, 409, 422))
def create_person(
    body: schemas.PersonRequest, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep
) -> Response:
    """Add a person, with the record of their consent."""

    def create(id: str) -> Response:
        statement, most = _statement(context, caller, body.consent), context.tasks.quotas.people
        now, also = context.now(), _audited(context, caller, "consent.given", statement)
        person = PersonRow(id_of_kind("person", id), caller.owner, body.name, now, now)
        row = context.ledger.people.add_with_consent(person, statement, most, also)
        return created(_person(context, row), f"/v1/people/{row.id}")

    return idempotency.run(create)


@router.get("/people", responses=problem_responses(401, 422))
def list_people(context: ContextDep, caller: CallerDep, paging: PagingDep) -> schemas.Page[schemas.Person]:
    """The caller's people, the newest first."""
    page = context.ledger.people.list(caller.owner, paging.cursor, paging.limit)
    return schemas.Page(items=_people(context, page.items), next=page.next)


@router.get("/people/{id}", responses=problem_responses(401, 404, 410, 422))
def get_person(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Person:
    """One person."""
    return _person(context, context.ledger.people.get(caller.owner, id))


@router.patch("/people/{id}", responses=problem_responses(401, 404, 410, 422))
def rename_person(id: PathId, body: schemas.PersonUpdate, context: ContextDep, caller: CallerDep) -> schemas.Person:
    """Change a person's name, or what is to be said of them in captions and prompts."""
    row = context.ledger.people.get(caller.owner, id)
    if body.traits is not None:
        row = context.ledger.people.choose_traits(caller.owner, id, body.traits.model_dump(exclude_defaults=True))
    if body.name is not None:
        row = context.ledger.people.rename(caller.owner, id, body.name)
    return _person(context, row)


@router.delete("/people/{id}", responses=problem_responses(401, 404, 410, 422))
def erase_person(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Erased:
    """Erase a person and everything made from their photos; returns the ids of what was erased, and the erasure's own."""
    erasure = context.ledger.erasures.erase_person(context.erasure_by(caller), id)
    return serializers.serialize_erasure(context.finish(erasure))


@router.get("/people/{id}/consents", responses=problem_responses(401, 404, 410, 422))
def list_consents(
    id: PathId, context: ContextDep, caller: CallerDep, paging: ListPagingDep
) -> schemas.Page[schemas.Consent]:
    """Records of consent, the oldest first."""
    rows, more = page_of(context.ledger.people.consents(caller.owner, id), paging, lambda row: row.id)
    return schemas.Page[schemas.Consent].model_validate({"items": rows, "next": more})


@router.post(
    "/people/{id}/consents",
    status_code=201,
    response_model=schemas.Consent,
    responses=problem_responses(401, 403, 404, 409, 410, 422),
)
def add_consent(
    id: PathId, body: schemas.ConsentRequest, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep
) -> Response:
    """Record consent again, after it was withdrawn or to a newer text."""

    def create(reserved: str) -> Response:
        statement = _statement(context, caller, body)
        also = _audited(context, caller, "consent.given", statement)
        consent = id_of_kind("consent", reserved)
        row = context.ledger.people.give_consent(caller.owner, id, statement, context.now(), also, consent)
        return created(schemas.Consent.model_validate(row), f"/v1/people/{id}/consents")

    return idempotency.run(create)


@router.delete("/people/{id}/consents", status_code=204, responses=problem_responses(401, 404, 410, 422))
def withdraw_consent(id: PathId, context: ContextDep, caller: CallerDep) -> None:
    """Withdraw consent: nothing more is made of the person. What exists stays until it is erased."""
    also = _audited(context, caller, "consent.withdrawn")
    context.ledger.people.withdraw(caller.owner, id, context.now(), also)


@router.get("/people/{id}/identities", responses=problem_responses(401, 404, 410, 422))
def list_identities(
    id: PathId, context: ContextDep, caller: CallerDep, paging: ListPagingDep
) -> schemas.Page[schemas.Identity]:
    """Identities that the person can be drawn from, the newest first."""
    rows, more = page_of(context.ledger.people.identities(caller.owner, id), paging, lambda row: row.id)
    return schemas.Page[schemas.Identity].model_validate({"items": rows, "next": more})


def _person(context: AppContext, row: PersonRow) -> schemas.Person:
    return _people(context, [row])[0]


def _people(context: AppContext, rows: Sequence[PersonRow]) -> list[schemas.Person]:
    summaries, waiting = context.ledger.people.summarize(rows), context.guards.waiting([row.id for row in rows])
    kept, now = context.tasks.retention_by_kind, context.now()
    people = [serializers.serialize_person(row, summaries[row.id], kept, now) for row in rows]
    return [each.model_copy(update={"guardian_needed": each.id in waiting}) for each in people]


def _statement(context: AppContext, caller: auth.Caller, body: schemas.ConsentRequest) -> Statement:
    """What is recorded of a consent; raises `unknown_text`, `consent_outdated`, `statement_missing`."""
    text = context.ledger.consents.known(body.text_version, body.language)
    if context.tasks.consent.statements and not (body.given_for and body.adult and body.language):
        sentence = "Say in which language the text was read, whom the photos show, and that who agrees is 18 or older."
        raise UserError("statement_missing", sentence)
    known = {"language": text.language, "text_hash": text.sha256} if body.language else {}
    return Statement(
        text_version=text.version,
        given_by=body.given_by,
        days=context.tasks.retention_by_kind.people_days,
        given_for=body.given_for or "",
        adult=bool(body.adult),
        key=caller.key,
        **known,
    )


def _audited(context: AppContext, caller: auth.Caller, action: str, statement: Statement | None = None) -> Also:
    """What writes an entry of the audit log, in the same transaction."""
    detail: dict[str, str | int] = {}
    if statement is not None:
        detail = {"text": statement.text_version, "language": statement.language, "for": statement.given_for}

    def add(connection: sa.Connection, person: str) -> None:
        context.ledger.audit.add(caller.actor, action, person, detail, context.now(), connection)

    return add
