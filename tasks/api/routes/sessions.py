"""Routes of sessions: sign in, list, sign out; sign-in with an OpenID provider."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from portrait.errors import UserError
from tasks import auth, schemas
from tasks.api.context import (
    AppContext,
    AuthenticatedRoute,
    CallerDep,
    ContextDep,
    ListPagingDep,
    PathId,
    created,
    page_of,
)
from tasks.api.problems import problem_responses

router = APIRouter(tags=["sessions"], route_class=AuthenticatedRoute)


@router.post(
    "/sessions",
    status_code=201,
    response_model=schemas.SessionWithSecret,
    responses=problem_responses(401, 403, 404, 409, 422),
)
def open_session(body: schemas.SessionRequest, context: ContextDep) -> Response:
    """Sign in. The secret is in this response and nowhere else; it is not an API key and ends by itself."""
    made = _open_session(body, context)
    session = schemas.Session.model_validate(made.row)
    secret = schemas.SessionWithSecret(**session.model_dump(exclude={"current"}), current=False, secret=made.secret)
    return created(secret, f"/v1/sessions/{made.row.id}")


def _open_session(body: schemas.SessionRequest, context: AppContext) -> auth.NewSession:
    store, limits, now = context.ledger, context.tasks.sessions, context.now()
    if body.code is not None:
        return auth.open_session_with_code(store, body.code, limits, now)
    if body.key is not None:
        return auth.open_session_with_key(store, body.key, limits, now)
    if body.oidc is None:  # the schema lets no such body through
        raise UserError("bad_request", "Give exactly one of `code`, `key` and `oidc`.")
    account = context.oidc.account(body.oidc.state, body.oidc.code, body.oidc.binding, now)
    return auth.open_session_of(store, account.owner, account.role, limits, now)


@router.get("/sessions", responses=problem_responses(401, 422))
def list_sessions(context: ContextDep, caller: CallerDep, paging: ListPagingDep) -> schemas.Page[schemas.Session]:
    """Your sessions, the newest first."""
    rows, more = page_of(context.ledger.sessions.list(caller.owner, context.now()), paging, lambda row: row.id)
    items = [schemas.Session.model_validate(row) for row in rows]
    shown = [each.model_copy(update={"current": each.id == caller.key}) for each in items]
    return schemas.Page(items=shown, next=more)


@router.post(
    "/sessions/codes", status_code=201, response_model=schemas.Invitation, responses=problem_responses(401, 403, 409)
)
def create_device_code(context: ContextDep, caller: CallerDep) -> Response:
    """Make a code that signs you in once on another device, within five minutes; for sessions, not for keys.

    The code is in this response and nowhere else, so there is no `Idempotency-Key`.
    """
    now = context.now()
    code = auth.create_device_code(context.ledger, caller, now)
    expires = now + auth.DEVICE_CODE_LIFETIME
    made = schemas.Invitation.model_validate(
        {"owner": caller.owner, "role": caller.role, "code": code, "expires": expires}
    )
    return created(made, "/v1/sessions")


@router.delete("/sessions/current", status_code=204, responses=problem_responses(401, 404))
def end_current_session(context: ContextDep, caller: CallerDep) -> None:
    """Sign out; `not_found` for a key, which is no session."""
    context.ledger.sessions.end(caller.owner, caller.key)


@router.delete("/sessions/{id}", status_code=204, responses=problem_responses(401, 404, 422))
def end_session(id: PathId, context: ContextDep, caller: CallerDep) -> None:
    """End one of your sessions."""
    context.ledger.sessions.end(caller.owner, id)


@router.delete("/sessions", status_code=204, responses=problem_responses(401, 422))
def end_all_sessions(
    context: ContextDep,
    caller: CallerDep,
    keys: Annotated[bool, Query(description="Revoke every key too: for when somebody else may have one.")] = False,
) -> None:
    """Sign out everywhere: end all of your sessions, also this one."""
    auth.end_sessions(context.ledger, caller.owner, keys, context.now(), caller.actor)


@router.get("/oidc")
def get_oidc(context: ContextDep) -> schemas.OidcStatus:
    """Whether people can sign in with an OpenID provider."""
    settings = context.tasks.oidc
    return schemas.OidcStatus(enabled=bool(settings.issuer), name=settings.name if settings.issuer else "")


@router.post(
    "/oidc/authorizations",
    status_code=201,
    response_model=schemas.OidcAuthorization,
    responses=problem_responses(404, 422),
)
def start_oidc(body: schemas.OidcRequest, context: ContextDep) -> Response:
    """Begin to sign in with the provider: send the browser to `url`, and give what comes back to `POST /v1/sessions`."""
    begun = context.oidc.authorize(body.redirect_uri, context.now())
    return created(schemas.OidcAuthorization.model_validate(begun), "/v1/oidc")
