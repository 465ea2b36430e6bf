"""The route of invitations: a one-time code that an admin sends to somebody, who has an account from then on."""

from fastapi import APIRouter, Response

from tasks import auth, schemas
from tasks.api.context import AdminDep, AuthenticatedRoute, ContextDep, created
from tasks.api.problems import problem_responses

router = APIRouter(prefix="/operator", tags=["operator"], route_class=AuthenticatedRoute)


@router.post(
    "/invitations", status_code=201, response_model=schemas.Invitation, responses=problem_responses(401, 403, 409, 422)
)
def invite_owner(body: schemas.InvitationRequest, context: ContextDep, caller: AdminDep) -> Response:
    """Make a code that signs an owner in once within three days; the owner need not exist yet. For admins.

    The code is in this response and nowhere else, so there is no `Idempotency-Key`.
    """
    now = context.now()
    code = auth.invite(context.ledger, body.owner, body.role, caller, now)
    invitation = schemas.Invitation.model_validate(
        {"owner": body.owner, "role": body.role, "code": code, "expires": now + auth.INVITATION_LIFETIME}
    )
    return created(invitation, f"/v1/operator/owners?after={body.owner}")
