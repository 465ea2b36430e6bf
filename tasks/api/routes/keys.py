"""Routes of API keys: sign-in with a one-time code, create, list, revoke."""

from fastapi import APIRouter, Response

from tasks import auth, schemas
from tasks.api.context import AuthenticatedRoute, CallerDep, ContextDep, ListPagingDep, PathId, created
from tasks.api.problems import problem_responses

router = APIRouter(tags=["keys"], route_class=AuthenticatedRoute)


@router.post(
    "/sign-in", status_code=201, response_model=schemas.KeyWithSecret, responses=problem_responses(401, 403, 422)
)
def sign_in(body: schemas.SignIn, context: ContextDep) -> Response:
    """Exchange a one-time code for a key."""
    return _with_secret(auth.sign_in(context.ledger, body.code, context.now()))


@router.post(
    "/keys", status_code=201, response_model=schemas.KeyWithSecret, responses=problem_responses(401, 403, 409, 422)
)
def create_key(body: schemas.KeyRequest, context: ContextDep, caller: CallerDep) -> Response:
    """Create a key. Its secret is in this response and nowhere else, so there is no `Idempotency-Key`.

    It ends when the key or session ends that makes it, or sooner.
    """
    expires = None if body.expires is None else body.expires.timestamp()
    order = auth.KeyOrder(body.owner or caller.owner, body.name, body.role, expires)
    most = context.tasks.quotas.keys
    return _with_secret(auth.create_key_for(context.ledger, caller, order, most, context.now()))


@router.get("/keys", responses=problem_responses(401, 422))
def list_keys(context: ContextDep, caller: CallerDep, paging: ListPagingDep) -> schemas.Page[schemas.Key]:
    """Your keys, the oldest first; everybody's for an admin."""
    owner, after = None if caller.has_role("admin") else caller.owner, paging.cursor or ""
    rows = context.ledger.api_keys.list(owner, after, paging.limit + 1)
    more = rows[paging.limit - 1].id if len(rows) > paging.limit else None
    return schemas.Page[schemas.Key].model_validate({"items": rows[: paging.limit], "next": more})


@router.delete("/keys/{id}", status_code=204, responses=problem_responses(401, 404, 422))
def revoke_key(id: PathId, context: ContextDep, caller: CallerDep) -> None:
    """Revoke a key, what was made with it of your own, and the sessions that it opened."""
    auth.revoke_key(context.ledger, id, caller, context.now())


def _with_secret(key: auth.NewKey) -> Response:
    body = schemas.KeyWithSecret(**schemas.Key.model_validate(key.row).model_dump(), secret=key.secret)
    return created(body, f"/v1/keys/{key.row.id}")
