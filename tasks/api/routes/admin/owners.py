"""Routes of owners, for admins: list, disable, enable, remove."""

from dataclasses import asdict

from fastapi import APIRouter

from tasks import accounts, schemas
from tasks.api.context import AdminDep, AppContext, AuthenticatedRoute, ContextDep, PagingDep, PathId
from tasks.api.problems import problem_responses
from tasks.ledger.access.owners import OwnerRow

router = APIRouter(prefix="/operator/owners", tags=["operator"], route_class=AuthenticatedRoute)


@router.get("", responses=problem_responses(401, 403, 422))
def list_owners(context: ContextDep, _: AdminDep, paging: PagingDep) -> schemas.Page[schemas.Owner]:
    """Every owner, in the order of their names. For admins."""
    rows = context.ledger.owners.list(paging.cursor or "", paging.limit + 1)
    more = rows[paging.limit - 1].id if len(rows) > paging.limit else None
    return schemas.Page(items=[_serialize(context, row) for row in rows[: paging.limit]], next=more)


@router.post("/{id}/disable", responses=problem_responses(401, 403, 404, 409, 422))
def disable_owner(id: PathId, context: ContextDep, caller: AdminDep) -> schemas.Owner:
    """Let an owner in no more: sessions end, keys open nothing; what is stored stays. For admins."""
    return _serialize(context, accounts.disable(context.ledger, id, caller, context.now()))


@router.post("/{id}/enable", responses=problem_responses(401, 403, 404, 422))
def enable_owner(id: PathId, context: ContextDep, caller: AdminDep) -> schemas.Owner:
    """Let an owner in again with their keys. For admins."""
    return _serialize(context, accounts.enable(context.ledger, id, caller, context.now()))


@router.delete("/{id}", responses=problem_responses(401, 403, 404, 409, 422))
def remove_owner(id: PathId, context: ContextDep, caller: AdminDep) -> schemas.Erasure:
    """Remove an owner with everything that is kept of them; returns the receipt. For admins."""
    erasure = context.finish(accounts.remove(context.ledger, id, caller, context.now()))
    accounts.forget_removed(context.ledger, context.files)
    return schemas.Erasure.model_validate(erasure)


def _serialize(context: AppContext, row: OwnerRow) -> schemas.Owner:
    found = asdict(row) | asdict(context.ledger.owners.use(row.id, context.now()))
    return schemas.Owner.model_validate(found)
