"""Routes for requests that reach an admin by mail: export and erasure for an owner, and the receipts of everybody."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from tasks import schemas
from tasks.api.context import AdminDep, AuthenticatedRoute, ContextDep, PagingDep, PathId, created
from tasks.api.problems import problem_responses
from tasks.api.routes.me import export_response
from tasks.api.routes.portraits import ZIP_RESPONSES
from tasks.ledger.privacy.erasures import Request

router = APIRouter(prefix="/operator", tags=["operator"], route_class=AuthenticatedRoute)


@router.get(
    "/owners/{id}/export",
    response_class=StreamingResponse,
    responses={**ZIP_RESPONSES, **problem_responses(401, 403, 404, 422)},
)
def export_owner(id: PathId, context: ContextDep, caller: AdminDep) -> Response:
    """Everything that is kept of an owner as one zip, as `/me/export` gives it to themselves. For admins."""
    context.ledger.owners.get(id)
    return export_response(context, caller, id)


@router.post(
    "/erasures",
    status_code=201,
    response_model=schemas.Erasure,
    responses=problem_responses(401, 403, 404, 410, 422),
)
def erase_for_owner(body: schemas.ErasureRequest, context: ContextDep, caller: AdminDep) -> Response:
    """Erase a person of an owner, or everything of the owner with all keys and sessions. For admins."""
    request, erasures = Request(body.owner, context.now(), caller.actor), context.ledger.erasures
    context.ledger.owners.get(body.owner)
    erasure = erasures.erase_owner(request) if body.person is None else erasures.erase_person(request, body.person)
    done = schemas.Erasure.model_validate(context.finish(erasure))
    return created(done, f"/v1/operator/erasures?owner={body.owner}")


@router.get("/erasures", responses=problem_responses(401, 403, 422))
def list_all_erasures(
    context: ContextDep,
    _: AdminDep,
    paging: PagingDep,
    owner: Annotated[str, Query(max_length=64, description="Those of this owner alone.")] = "",
) -> schemas.Page[schemas.Erasure]:
    """Receipts of what was erased, the newest first. For admins."""
    page = context.ledger.erasures.list(owner or None, paging.cursor, paging.limit)
    return schemas.Page[schemas.Erasure].model_validate({"items": page.items, "next": page.next})
