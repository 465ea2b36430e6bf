"""Routes that order trainings and portraits: one job, or an order of several that are placed together or not at all."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from fastapi import APIRouter, Response

from portrait.errors import UserError
from tasks import schemas
from tasks.api.context import (
    AppContext,
    AuthenticatedRoute,
    CallerDep,
    ContextDep,
    Idempotency,
    IdempotencyDep,
    created,
)
from tasks.api.routes.jobs import JOB_PROBLEMS, RETRY_AFTER, accepted, job_responses
from tasks.api.routes.ordering.drafts import Draft, draft_generation, draft_training
from tasks.jobs import Job
from tasks.ledger.database import new_id

router = APIRouter(tags=["jobs"], route_class=AuthenticatedRoute)
BETWEEN = 0.001
"""Seconds between the jobs of an order: the first is older, and is drawn first."""


@router.post("/trainings", status_code=202, response_model=schemas.Job, responses=JOB_PROBLEMS)
def create_training(
    body: schemas.TrainingRequest, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep
) -> Response:
    """Queue a training: judge a person's photos or, with a base, train a LoRA on it."""

    def enqueue(id: str) -> Response:
        draft = draft_training(context, caller.owner, body)
        return accepted(context, context.enqueue(replace(draft.job, id=id), draft.people))

    return idempotency.run(enqueue)


@router.post("/generations", status_code=202, response_model=schemas.Job, responses=JOB_PROBLEMS)
def create_generation(
    body: schemas.GenerationRequest, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep
) -> Response:
    """Queue portraits of one style, or in an uploaded picture."""

    def enqueue(id: str) -> Response:
        draft = draft_generation(context, caller.owner, body)
        return accepted(context, context.place([(replace(draft.job, id=id), draft.people)])[0])

    return idempotency.run(enqueue)


@router.post("/orders", status_code=202, response_model=schemas.Order, responses=JOB_PROBLEMS)
def place_order(
    body: schemas.OrderRequest, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep
) -> Response:
    """Queue portraits of several styles and pictures: all of them, or none.

    Everything is checked before anything is placed, quotas over the whole order. What is refused is in `errors`, with
    `generations.2` for the third of them in `where`.
    """

    def enqueue(_: str) -> Response:
        drafts = _draft_all(context, caller.owner, body.generations)
        order, now = _order_id(idempotency, context.now()), context.now()
        placed = [(_job_of(draft, order, now + at * BETWEEN), draft.people) for at, draft in enumerate(drafts)]
        jobs = context.place(placed)
        answer = schemas.Order(id=order, jobs=job_responses(context, jobs))
        return created(answer, f"/v1/jobs?order={order}", 202, RETRY_AFTER)

    return idempotency.run(enqueue)


def _draft_all(context: AppContext, owner: str, requests: Sequence[schemas.GenerationRequest]) -> list[Draft]:
    """The jobs of an order; raises the first error, with that of every request that is refused in its details."""
    drafts: list[Draft] = []
    refused: list[tuple[str, UserError]] = []
    for number, body in enumerate(requests):
        try:
            drafts.append(draft_generation(context, owner, body))
        except UserError as error:
            refused.append((f"generations.{number}", error))
    if refused:
        first = refused[0][1]
        fields = [{"where": where, "code": error.code, "message": error.message} for where, error in refused]
        raise UserError(first.code, first.message, {**first.details, "fields": fields})
    return drafts


def _order_id(idempotency: Idempotency, now: float) -> str:
    """The id of an order: the same for one Idempotency-Key and body, so that the ledger finds what was placed before."""
    if idempotency.key is None:
        return new_id("order", now)
    asked = "\n".join((idempotency.owner, idempotency.key, idempotency.fingerprint))
    return f"order_{hashlib.sha256(asked.encode()).hexdigest()[:27]}"


def _job_of(draft: Draft, order: str, now: float) -> Job:
    return replace(draft.job, id=new_id("job", now), created=now, order_id=order)
