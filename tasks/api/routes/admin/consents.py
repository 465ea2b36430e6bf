"""The route of the proofs of consent, which admins read: also of people who were erased."""

from typing import Annotated

from fastapi import APIRouter, Query

from tasks import schemas
from tasks.api.context import AdminDep, AuthenticatedRoute, ContextDep, PagingDep
from tasks.api.problems import problem_responses

router = APIRouter(prefix="/operator", tags=["operator"], route_class=AuthenticatedRoute)
IdQuery = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{0,64}$")]


@router.get("/consents", responses=problem_responses(401, 403, 422))
def list_consent_proofs(
    context: ContextDep, _: AdminDep, paging: PagingDep, owner: IdQuery = "", person: IdQuery = ""
) -> schemas.Page[schemas.ConsentProof]:
    """Who agreed to what and when, without names, the newest first; of people who were erased too. For admins."""
    page = context.ledger.consents.proofs(owner, person, paging.cursor, paging.limit)
    return schemas.Page[schemas.ConsentProof].model_validate({"items": page.items, "next": page.next})
