"""A person's photos: added, looked at, wished in or out, deleted."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Response, UploadFile

from pipelines.folders import training_sets
from portrait.errors import OperatorError, UserError
from tasks import schemas
from tasks.api import images, serializers
from tasks.api.context import AnId, Guarded, Office, TheCaller, TheOffice
from tasks.api.images import Side
from tasks.api.problems import documented
from tasks.ledger.database import new_id
from tasks.ledger.rows import SelfieRow

router = APIRouter(tags=["selfies"], route_class=Guarded)
MOST_AT_ONCE = 60
"""Files of one request."""
PICTURE = {
    200: {"description": "The picture.", "content": {"image/*": {}}},
    206: {"description": "The part that `Range` names.", "content": {"image/*": {}}},
    **documented(416),
}


@router.post(
    "/people/{id}/selfies",
    status_code=201,
    responses=documented(400, 401, 403, 404, 409, 410, 413, 422, 429, 503),
)
def add_selfies(
    id: AnId,
    files: Annotated[list[UploadFile], File(description=f"1 to {MOST_AT_ONCE} photos.")],
    office: TheOffice,
    caller: TheCaller,
) -> schemas.SelfiesAdded:
    """Add photos. What cannot be read is told by name and does not stop the others.

    The same bytes again give the photo that is there already.
    """
    if len(files) > MOST_AT_ONCE:
        raise UserError("too_many_photos", f"Send at most {MOST_AT_ONCE} photos at once.")
    office.store.people.consented(caller.owner, id)
    added, refused = [], []
    first: UserError | None = None
    for upload in files:
        try:
            added.append(serializers.selfie(_add(office, caller.owner, id, upload)))
        except UserError as error:
            first = first or error
            refused.append(schemas.Detail(where=images.name_of(upload), code=error.code, message=error.message))
    if first is not None and not added:
        photos = [{"file": each.where, "reasons": [{"code": each.code, "tip": each.message}]} for each in refused]
        raise UserError(first.code, first.message, {**first.details, "photos": photos})
    return schemas.SelfiesAdded(added=added, refused=refused)


@router.get("/people/{id}/selfies", responses=documented(401, 404, 410, 422))
def list_selfies(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Page[schemas.Selfie]:
    """A person's photos with their verdicts, in the order in which they came."""
    rows = office.store.people.selfies(caller.owner, id)
    return schemas.Page(items=[serializers.selfie(row) for row in rows], next=None)


@router.get("/selfies/{id}", responses=documented(401, 404, 410, 422))
def get_selfie(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Selfie:
    """One photo."""
    return serializers.selfie(office.store.people.selfie(caller.owner, id))


@router.patch("/selfies/{id}", responses=documented(401, 404, 410, 422))
def change_selfie(id: AnId, change: schemas.SelfieChange, office: TheOffice, caller: TheCaller) -> schemas.Selfie:
    """Include or exclude a photo, or leave it to the judge; the next training goes by it."""
    return serializers.selfie(office.store.people.wish(caller.owner, id, change.wish))


@router.delete("/selfies/{id}", status_code=204, responses=documented(401, 404, 410, 422))
def delete_selfie(id: AnId, office: TheOffice, caller: TheCaller) -> None:
    """Forget a photo, and what was cut from it. A person left without any cannot be drawn until trained anew."""
    gone = office.store.people.delete_selfie(caller.owner, id, office.now())
    office.files.erase_file(office.files.selfie(caller.owner, gone.person, gone.id))
    for made in office.store.people.sets(caller.owner, gone.person):
        folder = office.files.training_set(caller.owner, gone.person, made.id)
        if training_sets.is_set(folder) and not _forgotten(folder, gone.id):
            office.store.people.delete_set(caller.owner, made.id)
            office.files.erase_training_set(caller.owner, gone.person, made.id)


@router.get("/selfies/{id}/file", response_class=Response, responses={**PICTURE, **documented(401, 404, 410, 422)})
def get_selfie_file(id: AnId, office: TheOffice, caller: TheCaller, side: Side = None) -> Response:
    """The photo as it came, or small and upright."""
    row = office.store.people.selfie(caller.owner, id)
    path = office.files.selfie(caller.owner, row.person, row.id)
    return images.send(office.reduced, path, images.MEDIA.get(row.format, "application/octet-stream"), side)


@router.get("/selfies/{id}/crop", response_class=Response, responses={**PICTURE, **documented(401, 404, 410, 422)})
def get_selfie_crop(id: AnId, office: TheOffice, caller: TheCaller, side: Side = None) -> Response:
    """What is learned from the photo: the crop of the newest training; 404 for a photo that was not used."""
    row = office.store.people.selfie(caller.owner, id)
    for identity in office.store.people.identities(caller.owner, row.person)[:1]:
        folder = office.files.training_set(caller.owner, row.person, identity.training_set)
        crop = training_sets.crop_of(folder, row.id)
        if crop is not None:
            return images.send(office.reduced, crop, "image/png", side)
    raise UserError("not_found", "Nothing was cut from this photo.")


def _forgotten(folder: Path, photo: str) -> bool:
    """Take a photo out of a set; False when nothing is left to draw from, or the set is broken and can only go whole."""
    try:
        return training_sets.forget(folder, photo)
    except UserError:
        return False


def _add(office: Office, owner: str, person: str, upload: UploadFile) -> SelfieRow:
    now, quotas = office.now(), office.tasks.quotas
    id = new_id("selfie", now)
    place = office.files.selfie(owner, person, id)
    saved, header = images.take(office.files, upload, place)
    row = SelfieRow(
        id=id,
        owner=owner,
        person=person,
        name=images.name_of(upload),
        sha256=saved.sha256,
        bytes=saved.bytes,
        width=header.size.width,
        height=header.size.height,
        format=header.format,
        created=now,
    )
    try:
        kept = office.store.people.add_selfie(row, quotas.photos, quotas.photos_a_day)
    except (UserError, OperatorError):
        place.unlink(missing_ok=True)
        raise
    if kept.id != id:
        place.unlink(missing_ok=True)
    return kept
