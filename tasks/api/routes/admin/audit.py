"""The route of the audit log, which admins read."""

from typing import Annotated

from fastapi import APIRouter, Query

from tasks import schemas
from tasks.api.context import AdminDep, AuthenticatedRoute, ContextDep, PagingDep
from tasks.api.problems import problem_responses

router = APIRouter(prefix="/operator", tags=["operator"], route_class=AuthenticatedRoute)


@router.get("/audit", responses=problem_responses(401, 403, 422))
def list_audit(
    context: ContextDep,
    _: AdminDep,
    paging: PagingDep,
    action: Annotated[str, Query(max_length=40, description="`key.created`, or `key` for all of keys.")] = "",
    actor: Annotated[str, Query(max_length=200, description="An owner, `OWNER:ID`, or `system`.")] = "",
) -> schemas.Page[schemas.AuditEntry]:
    """Who did what and when, the newest first; no content. For admins."""
    page = context.ledger.audit.list(paging.cursor, paging.limit, action, actor)
    return schemas.Page[schemas.AuditEntry].model_validate({"items": page.items, "next": page.next})
