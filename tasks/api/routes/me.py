"""Routes of the caller: quotas and their use, export of everything, erasure of everything."""

from typing import Annotated, TypeAlias

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from tasks import exporting, schemas
from tasks.api import serializers
from tasks.api.context import AppContext, AuthenticatedRoute, CallerDep, ContextDep, PagingDep, PathId
from tasks.api.problems import problem_responses
from tasks.api.routes.portraits import ZIP_RESPONSES
from tasks.auth import Caller
from tasks.ledger.usage import MEGA

Account: TypeAlias = Annotated[
    bool, Query(description="Also the key or session that asks: nothing opens anything of the caller's afterwards.")
]

router = APIRouter(prefix="/me", tags=["me"], route_class=AuthenticatedRoute)


@router.get("", responses=problem_responses(401))
def get_me(context: ContextDep, caller: CallerDep) -> schemas.Me:
    """The caller, with quotas and their use."""
    version = context.ledger.consents.current_version()
    return schemas.Me(role=caller.role, consent_version=version, **quotas_of(context, caller.owner).model_dump())


def quotas_of(context: AppContext, owner: str) -> schemas.Quotas:
    """The quotas of an owner and what is used of them today."""
    quotas, store = context.tasks.quotas, context.ledger
    today, stored = store.usage.today(owner, context.now()), store.usage.stored_bytes(owner)

    def use(amount: float, most: float) -> schemas.QuotaUse:
        return schemas.QuotaUse(used=round(amount), most=round(most))

    return schemas.Quotas(
        owner=owner,
        jobs=use(store.jobs.count_active(owner), quotas.jobs),
        people=use(store.people.count(owner), quotas.people),
        photos_a_day=quotas.photos_a_day,
        photos_of_a_person=quotas.photos,
        portraits_today=use(today["portraits"].amount, quotas.portraits_a_day),
        retention_days=context.tasks.retention_by_kind.people_days or 0.0,
        photos_today=use(today["photos"].amount, quotas.photos_a_day),
        upload_megabytes_today=use(today["upload_bytes"].amount / MEGA, quotas.upload_megabytes_a_day),
        trainings_today=use(today["trainings"].amount, quotas.trainings_a_day),
        worker_minutes_today=use(today["worker_seconds"].amount / 60, quotas.worker_hours_a_day * 60),
        stored_megabytes=use(stored / MEGA, quotas.stored_megabytes),
    )


@router.get("/export", response_class=StreamingResponse, responses={**ZIP_RESPONSES, **problem_responses(401)})
def export_me(context: ContextDep, caller: CallerDep) -> Response:
    """Everything that is kept of the caller as one zip: photos and what was made of them, portraits, records as JSON."""
    context.ledger.retention.use_everything(caller.owner, context.now())
    return export_response(context, caller, caller.owner)


@router.delete("", responses=problem_responses(401, 422))
def erase_me(context: ContextDep, caller: CallerDep, account: Account = False) -> schemas.Erased:
    """Erase everything of the caller: people, portraits, pictures, jobs, webhooks, other keys and sessions; returns the ids."""
    keep = "" if account else caller.key
    erasure = context.ledger.erasures.erase_owner(context.erasure_by(caller), keep)
    return serializers.serialize_erasure(context.finish(erasure))


@router.get("/erasures", responses=problem_responses(401, 422))
def list_erasures(context: ContextDep, caller: CallerDep, paging: PagingDep) -> schemas.Page[schemas.Erasure]:
    """Receipts of what was erased of the caller's, the newest first."""
    page = context.ledger.erasures.list(caller.owner, paging.cursor, paging.limit)
    return schemas.Page[schemas.Erasure].model_validate({"items": page.items, "next": page.next})


@router.get("/erasures/{id}", responses=problem_responses(401, 404, 422))
def get_erasure(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Erasure:
    """The receipt of one erasure; `done` is null until nothing is left."""
    return schemas.Erasure.model_validate(context.ledger.erasures.get(caller.owner, id))


def export_response(context: AppContext, caller: Caller, owner: str) -> Response:
    """Everything of an owner as a download, and an entry of the audit log."""
    context.ledger.audit.add(caller.actor, "export.made", owner, {}, context.now())
    headers = {"Content-Disposition": 'attachment; filename="export.zip"', "Cache-Control": "no-store"}
    content = exporting.export_owner(context.ledger, context.files, owner)
    return StreamingResponse(content, media_type="application/zip", headers=headers)
