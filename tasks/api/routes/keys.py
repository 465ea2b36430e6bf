"""Signing in with a one-time code, and keys."""

from fastapi import APIRouter, Response

from portrait.errors import UserError
from tasks import auth, schemas
from tasks.api import serializers
from tasks.api.context import AnId, Guarded, TheCaller, TheOffice, made
from tasks.api.problems import documented

router = APIRouter(tags=["keys"], route_class=Guarded)


@router.post("/sign-in", status_code=201, response_model=schemas.KeyMade, responses=documented(401, 422))
def sign_in(order: schemas.SignIn, office: TheOffice) -> Response:
    """Change a one-time code for a key."""
    return _told(auth.sign_in(office.store, order.code, office.now()))


@router.post("/keys", status_code=201, response_model=schemas.KeyMade, responses=documented(401, 403, 422))
def add_key(order: schemas.KeyOrder, office: TheOffice, caller: TheCaller) -> Response:
    """Make a key; its secret is in this answer and nowhere else, so that no Idempotency-Key can bring it again."""
    owner = order.owner or caller.owner
    if (owner != caller.owner or order.role != "person") and not caller.may("admin"):
        raise UserError("forbidden", "Only an admin may make keys for others or with more rights.")
    return _told(auth.new_key(office.store, owner, order.name, order.role, office.now()))


@router.get("/keys", responses=documented(401))
def list_keys(office: TheOffice, caller: TheCaller) -> schemas.Page[schemas.Key]:
    """Your keys; everybody's for an admin."""
    rows = office.store.access.keys(None if caller.may("admin") else caller.owner)
    return schemas.Page(items=[serializers.key(row) for row in rows], next=None)


@router.delete("/keys/{id}", status_code=204, responses=documented(401, 404, 422))
def revoke_key(id: AnId, office: TheOffice, caller: TheCaller) -> None:
    """Make a key open nothing any more."""
    office.store.access.revoke_key(id, office.now(), None if caller.may("admin") else caller.owner)


def _told(key: auth.NewKey) -> Response:
    said = schemas.KeyMade(**serializers.key(key.row).model_dump(), secret=key.secret)
    return made(said, f"/v1/keys/{key.row.id}")
