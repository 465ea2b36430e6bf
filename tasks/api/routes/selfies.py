"""Routes of selfies: upload, list, include or exclude, delete and restore; their files and crops; identities."""

from typing import Annotated, Literal, TypeAlias

from fastapi import APIRouter, File, Query, Response, UploadFile

from pipelines.folders import training_sets
from portrait.errors import OperatorError, UserError
from tasks import schemas
from tasks.api import admission, images
from tasks.api.context import (
    AppContext,
    AuthenticatedRoute,
    CallerDep,
    ContextDep,
    ListPagingDep,
    PathId,
    UndoQuery,
    page_of,
)
from tasks.api.images import Side
from tasks.api.problems import problem_responses
from tasks.ledger.database import new_id
from tasks.ledger.rows import SelfieRow
from tasks.ledger.usage import MEGA

router = APIRouter(tags=["selfies"], route_class=AuthenticatedRoute)
MAX_FILES = 60
"""Files of one request."""
Learned: TypeAlias = Annotated[
    Literal["keep", "erase"], Query(description="What becomes of LoRAs that were trained on the photo.")
]


@router.post(
    "/people/{id}/selfies",
    status_code=201,
    responses=problem_responses(400, 401, 403, 404, 409, 410, 413, 422, 429, 503),
)
@admission.before_body(admission.photos_of_person)
def add_selfies(
    id: PathId,
    files: Annotated[list[UploadFile], File(description=f"1 to {MAX_FILES} photos.")],
    context: ContextDep,
    caller: CallerDep,
) -> schemas.SelfieUploadResult:
    """Upload photos. Those that cannot be read or may not be used are listed by name in `refused` and do not stop the others.

    The same bytes again give the photo that exists already.
    """
    if len(files) > MAX_FILES:
        raise UserError("too_many_photos", f"Send at most {MAX_FILES} photos at once.")
    context.ledger.people.require_consent(caller.owner, id)
    added, refused = [], []
    first: UserError | None = None
    for upload in files:
        try:
            added.append(schemas.Selfie.model_validate(_add(context, caller.owner, id, upload)))
        except UserError as error:
            first = first or error
            name = images.display_name(upload)
            refused.append(schemas.ErrorDetail(where=name, code=error.code, message=error.message))
    if first is not None and not added:
        photos = [{"file": each.where, "reasons": [{"code": each.code, "tip": each.message}]} for each in refused]
        raise UserError(first.code, first.message, {**first.details, "photos": photos})
    return schemas.SelfieUploadResult(added=added, refused=refused)


@router.get("/people/{id}/selfies", responses=problem_responses(401, 404, 410, 422))
def list_selfies(
    id: PathId, context: ContextDep, caller: CallerDep, paging: ListPagingDep
) -> schemas.Page[schemas.Selfie]:
    """A person's photos with their verdicts, in the order of upload."""
    rows, more = page_of(context.ledger.people.selfies(caller.owner, id), paging, lambda row: row.id)
    return schemas.Page[schemas.Selfie].model_validate({"items": rows, "next": more})


@router.get("/selfies/{id}", responses=problem_responses(401, 404, 410, 422))
def get_selfie(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Selfie:
    """One photo."""
    return schemas.Selfie.model_validate(context.ledger.people.selfie(caller.owner, id))


@router.patch("/selfies/{id}", responses=problem_responses(401, 404, 410, 422))
def update_selfie(id: PathId, body: schemas.SelfieUpdate, context: ContextDep, caller: CallerDep) -> schemas.Selfie:
    """Include or exclude a photo, or leave the choice to the next training; say which face is the person's."""
    people = context.ledger.people
    row = people.selfie(caller.owner, id)
    if body.wish is not None:
        row = people.set_override(caller.owner, id, body.wish)
    if body.face is not None:
        row = people.choose_face(caller.owner, id, body.face.x, body.face.y)
    return schemas.Selfie.model_validate(row)


@router.delete("/selfies/{id}/face", responses=problem_responses(401, 404, 410, 422))
def clear_face(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Selfie:
    """Take back which face of a photo is the person's; the next check asks again where there are several."""
    return schemas.Selfie.model_validate(context.ledger.people.clear_face(caller.owner, id))


@router.delete("/selfies/{id}", status_code=204, responses=problem_responses(401, 404, 410, 422))
def delete_selfie(
    id: PathId, context: ContextDep, caller: CallerDep, learned: Learned = "keep", undo: UndoQuery = False
) -> None:
    """Delete a photo and what was cut from it. A person left without any cannot be drawn until trained again.

    What was learned from it is erased on demand, which cannot be undone; what is kept says so (`stale` of the identity).
    """
    if undo and learned == "erase":
        raise UserError("cannot_undo", "What was learned cannot be restored. Delete the photo without `undo`.")
    if undo:
        context.ledger.undo.remove(context.erasure_by(caller), "selfie", id)
        return
    erasure = context.ledger.erasures.erase_selfie(context.erasure_by(caller), id, learned == "erase")
    context.finish(erasure)


@router.post("/selfies/{id}/restore", responses=problem_responses(401, 404, 409, 410, 422))
def restore_selfie(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Selfie:
    """Bring a photo back that was deleted with `undo`; 410 when it is too late."""
    context.ledger.undo.restore(context.erasure_by(caller), "selfie", id, context.tasks.quotas.photos)
    return schemas.Selfie.model_validate(context.ledger.people.selfie(caller.owner, id))


@router.delete("/identities/{id}", status_code=204, responses=problem_responses(401, 404, 410, 422))
def delete_identity(id: PathId, context: ContextDep, caller: CallerDep) -> None:
    """Delete an identity: a LoRA with all that was learned; with one of photos alone also their crops and references."""
    context.finish(context.ledger.erasures.erase_identity(context.erasure_by(caller), id))


@router.get("/selfies/{id}/file", **images.picture_route(401, 404, 410, 422))
def get_selfie_file(id: PathId, context: ContextDep, caller: CallerDep, side: Side = None) -> Response:
    """The photo as it was uploaded, or an upright JPEG of at most `side` pixels."""
    row = context.ledger.people.selfie(caller.owner, id)
    path = context.files.fetch(context.files.selfie(caller.owner, row.person, row.id))
    context.ledger.retention.use_person(caller.owner, row.person, context.now())
    return images.picture_response(context.thumbnails, path, images.media_type(row.format), side)


@router.get("/selfies/{id}/crop", **images.picture_route(401, 404, 410, 422))
def get_selfie_crop(id: PathId, context: ContextDep, caller: CallerDep, side: Side = None) -> Response:
    """The crop of the newest training of this photo; 404 for a photo that was not used."""
    row = context.ledger.people.selfie(caller.owner, id)
    for identity in context.ledger.people.identities(caller.owner, row.person)[:1]:
        folder = context.files.training_set(caller.owner, row.person, identity.training_set)
        context.files.fetch(folder / training_sets.DESCRIPTION_FILE)
        crop = training_sets.find_crop(folder, row.id)
        if crop is not None:
            return images.picture_response(context.thumbnails, context.files.fetch(crop), "image/png", side)
    raise UserError("not_found", "Nothing was cut from this photo.")


def _add(context: AppContext, owner: str, person: str, upload: UploadFile) -> SelfieRow:
    now, quotas = context.now(), context.tasks.quotas
    id = new_id("selfie", now)
    place = context.files.selfie(owner, person, id)
    saved, header = images.save_guarded_picture(context, upload, place, owner)
    row = SelfieRow(
        id=id,
        owner=owner,
        person=person,
        name=images.display_name(upload),
        sha256=saved.sha256,
        bytes=saved.bytes,
        width=header.size.width,
        height=header.size.height,
        format=header.format,
        created=now,
    )
    try:
        stored = context.ledger.people.add_selfie(
            row, quotas.photos, quotas.photos_a_day, quotas.upload_megapixels_a_day * MEGA
        )
    except (UserError, OperatorError):
        context.files.remove(place)
        raise
    if stored.id != id:
        context.files.remove(place)
    return stored
