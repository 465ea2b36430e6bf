"""Routes of owners, for admins: list, quotas, sign out, disable, enable, remove."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from tasks import accounts, auth, schemas
from tasks.api.context import AdminDep, AppContext, AuthenticatedRoute, ContextDep, PagingDep, PathId
from tasks.api.problems import problem_responses
from tasks.api.routes.me import quotas_of
from tasks.ledger.access.owners import OwnerRow

router = APIRouter(prefix="/operator/owners", tags=["operator"], route_class=AuthenticatedRoute)


@router.get("", responses=problem_responses(401, 403, 422))
def list_owners(context: ContextDep, _: AdminDep, paging: PagingDep) -> schemas.Page[schemas.Owner]:
    """Every owner, in the order of their names. For admins."""
    rows = context.ledger.owners.list(paging.cursor or "", paging.limit + 1)
    more = rows[paging.limit - 1].id if len(rows) > paging.limit else None
    return schemas.Page(items=[_serialize(context, row) for row in rows[: paging.limit]], next=more)


@router.get("/{id}/quotas", responses=problem_responses(401, 403, 404, 422))
def get_quotas(id: PathId, context: ContextDep, _: AdminDep) -> schemas.Quotas:
    """The quotas of an owner and their use. For admins."""
    return quotas_of(context, context.ledger.owners.get(id).id)


@router.post("/{id}/sign-out", responses=problem_responses(401, 403, 404, 422))
def sign_owner_out(
    id: PathId,
    context: ContextDep,
    caller: AdminDep,
    keys: Annotated[bool, Query(description="Also revoke every key.")] = False,
) -> schemas.SignedOut:
    """End every session of an owner. For admins."""
    return schemas.SignedOut(**auth.end_sessions(context.ledger, id, keys, context.now(), caller.actor))


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
