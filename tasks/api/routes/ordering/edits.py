"""Routes that draw from a delivered portrait: edits of it, and the same portrait again from its recipe."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Response

from pipelines import model_requirements
from portrait.errors import UserError
from portrait.generation import edits
from tasks import schemas
from tasks.api.context import AppContext, AuthenticatedRoute, CallerDep, ContextDep, IdempotencyDep, PathId
from tasks.api.routes.jobs import JOB_PROBLEMS, accepted
from tasks.api.routes.styles import missing_by_ability
from tasks.jobs import Job
from tasks.ledger.rows import PortraitRow

router = APIRouter(tags=["portraits"], route_class=AuthenticatedRoute)
NOT_EDITED = {"candidate", "mark", "refiners", "remake", "size"}
"""Parameters of a job that an edit of its portrait does not take over: an edit begins from the portrait as it is."""
RECIPE_FIELDS = {"seed", "count", "candidate"}
"""What a recipe must hold to draw the portrait again; person, style and version are those of the job that drew it."""


@router.post("/portraits/{id}/edits", status_code=202, response_model=schemas.Job, responses=JOB_PROBLEMS)
def edit_portrait(
    id: PathId, body: schemas.EditRequest, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep
) -> Response:
    """Edit a portrait that was drawn from a prompt; the results are portraits of their own."""

    def enqueue(job: str) -> Response:
        row = context.ledger.portraits.get(caller.owner, id)
        before = context.ledger.jobs.get(caller.owner, row.job)
        _check(row, body)
        needs = _needed_abilities(context, before, body)
        for picture in body.pictures:
            context.ledger.templates.get(caller.owner, picture)
        edit: dict[str, Any] = {"kind": body.kind, "words": body.words, "strength": body.strength, "area": body.area}
        if body.pictures:
            edit["with"] = body.pictures
        params = {
            **{name: value for name, value in before.params.items() if name not in NOT_EDITED},
            "edit": {**edit, "shape": body.shape, "portrait": row.id},
            "count": body.count,
            "seed": int(row.recipe["seed"]) + int(row.recipe["count"]) if body.seed is None else body.seed,
            "format": body.format or row.format,
        }
        return _enqueue_again(context, replace(before, id=job, needs=needs, units=body.count), params)

    return idempotency.run(enqueue)


@router.post("/portraits/{id}/remake", status_code=202, response_model=schemas.Job, responses=JOB_PROBLEMS)
def remake_portrait(id: PathId, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep) -> Response:
    """Draw a portrait again, in the version of the style that it was drawn in: the same pixels, retired or not."""

    def enqueue(job: str) -> Response:
        row = context.ledger.portraits.get(caller.owner, id)
        before = context.ledger.jobs.get(caller.owner, row.job)
        if not set(row.recipe) >= RECIPE_FIELDS:
            raise UserError("no_recipe", "This portrait carries no recipe that it could be made from again.")
        recipe = {"seed": row.recipe["seed"], "count": row.recipe["count"], "format": row.format}
        # The invisible mark names the portrait that was drawn first: with another id in it the pixels would differ.
        again = {"remake": row.id, "mark": before.params.get("mark", row.id)}
        return _enqueue_again(context, replace(before, id=job, units=1), {**before.params, **recipe, **again})

    return idempotency.run(enqueue)


def _enqueue_again(context: AppContext, like: Job, params: Mapping[str, Any]) -> Response:
    """Queue a job with the id, the needs and the units of `like`, and with other parameters.

    Raises `consent_withdrawn`, `licence_refused` and the errors of quotas.
    """
    people = {str(place): str(person) for place, person in dict(like.params.get("people", {})).items()}
    for person in people.values():
        context.ledger.people.require_consent(like.owner, person)
    base = str(dict(like.params.get("technique") or {}).get("base", ""))
    model_requirements.check_terms(context.installation.flows, [base] if base else [], ())
    queue, needs, units = like.queue, like.needs, like.units
    job = Job(like.id, like.owner, "generate", queue, params, context.now(), needs=needs, units=units)
    return accepted(context, context.enqueue(job, people))


def _check(row: PortraitRow, body: schemas.EditRequest) -> None:
    """Raise `UserError` (`bad_edit`, `bad_size`) for what the worker would refuse."""
    if dict(row.recipe.get("style", {})).get("kind") != "text":
        raise UserError("bad_edit", "Only portraits that were drawn of words can be edited.")
    if body.shape is not None:
        edits.check_shape((body.shape[0], body.shape[1]), row.width, row.height)


def _needed_abilities(context: AppContext, before: Job, body: schemas.EditRequest) -> frozenset[str]:
    """The abilities that an edit needs; raises `UserError` (`bad_edit`) where the base of the portrait cannot do it."""
    if body.kind != "instruct" and not body.pictures:
        return before.needs
    base, instructs = str(dict(before.params.get("technique") or {}).get("base", "")), body.kind == "instruct"
    word = f"base:{base}:{'instruct' if instructs else 'reference'}"
    family = model_requirements.family_of(context.installation.flows, base)
    able = model_requirements.family_abilities(family)
    known = (able.instructions if instructs else able.references > 0) if family else word in missing_by_ability(context)
    if not known:
        what = "does not change a picture by words alone" if instructs else "takes no pictures with an edit"
        raise UserError("bad_edit", f"{base or 'Its base'} {what}: choose another edit, or draw it on another base.")
    most = able.references - instructs
    if family and len(body.pictures) > most:
        raise UserError("bad_edit", f"{base} takes at most {most} pictures with an edit.")
    return before.needs | {word}
