"""Routes of portraits: list, files, zip, favourites, delete."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from zipstream import ZipStream

from portrait.errors import UserError
from tasks import schemas
from tasks.api import images
from tasks.api.context import AppContext, AuthenticatedRoute, CallerDep, ContextDep, Cursor, Limit, PathId
from tasks.api.images import Side
from tasks.api.problems import problem_responses
from tasks.api.routes.selfies import PICTURE_RESPONSES
from tasks.ledger.pictures import PortraitFilter
from tasks.ledger.rows import PortraitRow

router = APIRouter(prefix="/portraits", tags=["portraits"], route_class=AuthenticatedRoute)
MAX_ZIP_FILES = 500
ZIP_RESPONSES = {200: {"description": "A zip of the portraits.", "content": {"application/zip": {}}}}
FilterQuery = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{0,64}$")]


@router.get("", responses=problem_responses(401, 422))
def list_portraits(  # noqa: PLR0913 -- each is a parameter of the query
    context: ContextDep,
    caller: CallerDep,
    person: FilterQuery = "",
    job: FilterQuery = "",
    favourite: bool = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> schemas.Page[schemas.Portrait]:
    """Your portraits, the newest first; of one job, the best first."""
    page = context.ledger.portraits.list(caller.owner, PortraitFilter(person, job, favourite), cursor, limit)
    return schemas.Page[schemas.Portrait].model_validate(page)


@router.get(
    "/zip", response_class=StreamingResponse, responses={**ZIP_RESPONSES, **problem_responses(401, 404, 410, 422)}
)
def download_portraits(
    context: ContextDep,
    caller: CallerDep,
    id: Annotated[
        list[str] | None, Query(max_length=MAX_ZIP_FILES, description="These; else those of the filters.")
    ] = None,
    person: FilterQuery = "",
    job: FilterQuery = "",
    favourite: bool = False,
) -> Response:
    """Portraits as one zip, streamed; the metadata in the files stays."""
    rows = (
        context.ledger.portraits.get_many(caller.owner, list(dict.fromkeys(each[:64].replace("\0", "") for each in id)))
        if id
        else context.ledger.portraits.list(
            caller.owner, PortraitFilter(person, job, favourite), None, MAX_ZIP_FILES
        ).items
    )
    there = [row for row in rows if context.files.portrait(caller.owner, row.job, row.file).is_file()]
    if not there:
        raise UserError("not_found", "There are no such portraits.")
    headers = {"Content-Disposition": 'attachment; filename="portraits.zip"'}
    return StreamingResponse(_zip(context, caller.owner, there), media_type="application/zip", headers=headers)


@router.get("/{id}", responses=problem_responses(401, 404, 410, 422))
def get_portrait(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Portrait:
    """One portrait with its scores and its recipe."""
    return schemas.Portrait.model_validate(context.ledger.portraits.get(caller.owner, id))


@router.get(
    "/{id}/file", response_class=Response, responses={**PICTURE_RESPONSES, **problem_responses(401, 404, 410, 422)}
)
def get_portrait_file(id: PathId, context: ContextDep, caller: CallerDep, side: Side = None) -> Response:
    """The portrait as it was delivered, with its metadata; or a JPEG of at most `side` pixels."""
    row = context.ledger.portraits.get(caller.owner, id)
    path = context.files.portrait(caller.owner, row.job, row.file)
    return images.picture_response(
        context.thumbnails,
        path,
        images.SUFFIX_MEDIA_TYPES[row.format],
        side,
        schemas.Portrait.model_validate(row).file_name,
    )


@router.patch("/{id}", responses=problem_responses(401, 404, 410, 422))
def update_portrait(
    id: PathId, body: schemas.PortraitUpdate, context: ContextDep, caller: CallerDep
) -> schemas.Portrait:
    """Mark a portrait as a favourite, or not."""
    return schemas.Portrait.model_validate(context.ledger.portraits.set_favourite(caller.owner, id, body.favourite))


@router.delete("/{id}", status_code=204, responses=problem_responses(401, 404, 410, 422))
def delete_portrait(id: PathId, context: ContextDep, caller: CallerDep) -> None:
    """Delete a portrait."""
    deleted = context.ledger.portraits.delete(caller.owner, id, context.now())
    context.files.erase_file(context.files.portrait(caller.owner, deleted.job, deleted.file))


def _zip(context: AppContext, owner: str, rows: Sequence[PortraitRow]) -> Iterator[bytes]:
    archive = ZipStream()  # stored: pictures are compressed already
    for row in rows:
        archive.add_path(
            str(context.files.portrait(owner, row.job, row.file)), schemas.Portrait.model_validate(row).file_name
        )
    yield from archive
