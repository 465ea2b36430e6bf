"""Routes of portraits: list, files, zip, favourites, delete."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from zipstream import ZipStream

from portrait.errors import UserError
from tasks import schemas
from tasks.api import images, serializers
from tasks.api.context import AppContext, AuthenticatedRoute, CallerDep, ContextDep, PagingDep, PathId
from tasks.api.images import Side
from tasks.api.problems import problem_responses
from tasks.ledger.pictures import PortraitFilter
from tasks.ledger.rows import PortraitRow

router = APIRouter(prefix="/portraits", tags=["portraits"], route_class=AuthenticatedRoute)
MAX_ZIP_FILES = 500
ZIP_RESPONSES = {200: {"description": "A zip of the portraits.", "content": {"application/zip": {}}}}
FilterQuery = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{0,64}$")]


def get_filter(person: FilterQuery = "", job: FilterQuery = "", favourite: bool = False) -> PortraitFilter:
    """The filter that a request names."""
    return PortraitFilter(person, job, favourite)


FilterDep = Annotated[PortraitFilter, Depends(get_filter)]


@router.get("", responses=problem_responses(401, 422))
def list_portraits(
    context: ContextDep, caller: CallerDep, wanted: FilterDep, paging: PagingDep
) -> schemas.Page[schemas.Portrait]:
    """Your portraits, the newest first; of one job, the best first."""
    page = context.ledger.portraits.list(caller.owner, wanted, paging.cursor, paging.limit)
    return schemas.Page(items=_serialized(context, caller.owner, page.items), next=page.next)


@router.get(
    "/zip", response_class=StreamingResponse, responses={**ZIP_RESPONSES, **problem_responses(401, 404, 410, 422)}
)
def download_portraits(
    context: ContextDep,
    caller: CallerDep,
    wanted: FilterDep,
    id: Annotated[
        list[str] | None, Query(max_length=MAX_ZIP_FILES, description="These; else those of the filters.")
    ] = None,
) -> Response:
    """Portraits as one zip, streamed; the metadata in the files stays."""
    if id:
        ids = dict.fromkeys(each[:64].replace("\0", "") for each in id)
        rows = context.ledger.portraits.get_many(caller.owner, list(ids))
    else:
        rows = context.ledger.portraits.list(caller.owner, wanted, None, MAX_ZIP_FILES).items
    there = [row for row in rows if context.files.portrait(caller.owner, row.job, row.file).is_file()]
    if not there:
        raise UserError("not_found", "There are no such portraits.")
    context.ledger.retention.use_portraits(caller.owner, there, context.now())
    headers = {"Content-Disposition": 'attachment; filename="portraits.zip"', "Cache-Control": "no-store"}
    return StreamingResponse(_zip(context, caller.owner, there), media_type="application/zip", headers=headers)


@router.get("/{id}", responses=problem_responses(401, 404, 410, 422))
def get_portrait(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Portrait:
    """One portrait with its scores and its recipe."""
    return _serialized(context, caller.owner, [context.ledger.portraits.get(caller.owner, id)])[0]


@router.get("/{id}/file", **images.picture_route(401, 404, 410, 422))
def get_portrait_file(id: PathId, context: ContextDep, caller: CallerDep, side: Side = None) -> Response:
    """The portrait as it was delivered, with its metadata; or a JPEG of at most `side` pixels."""
    row = context.ledger.portraits.get(caller.owner, id)
    path = context.files.portrait(caller.owner, row.job, row.file)
    context.ledger.retention.use_portraits(caller.owner, [row], context.now())
    name, media = schemas.Portrait.model_validate(row).file_name, images.SUFFIX_MEDIA_TYPES[row.format]
    return images.picture_response(context.thumbnails, path, media, side, name)


@router.patch("/{id}", responses=problem_responses(401, 404, 410, 422))
def update_portrait(
    id: PathId, body: schemas.PortraitUpdate, context: ContextDep, caller: CallerDep
) -> schemas.Portrait:
    """Mark a portrait as a favourite, or not."""
    row = context.ledger.portraits.set_favourite(caller.owner, id, body.favourite)
    context.ledger.retention.use_portraits(caller.owner, [row], context.now())
    return _serialized(context, caller.owner, [row])[0]


@router.delete("/{id}", status_code=204, responses=problem_responses(401, 404, 410, 422))
def delete_portrait(id: PathId, context: ContextDep, caller: CallerDep) -> None:
    """Delete a portrait."""
    context.finish(context.ledger.erasures.erase_portrait(context.erasure_by(caller), id))


def _serialized(context: AppContext, owner: str, rows: Sequence[PortraitRow]) -> list[schemas.Portrait]:
    """Portraits with when they are erased; where that is near, their owner is told by this."""
    retention, now = context.ledger.retention, context.now()
    due = retention.portraits_due(owner, rows, context.tasks.retention_by_kind, now)
    told = {row.job for row in rows if due[row.id].soon}
    if told:
        retention.mark_people_warned(owner, told, now)
    return [serializers.serialize_portrait(row, due[row.id]) for row in rows]


def _zip(context: AppContext, owner: str, rows: Sequence[PortraitRow]) -> Iterator[bytes]:
    archive = ZipStream()  # stored: pictures are compressed already
    for row in rows:
        path = context.files.portrait(owner, row.job, row.file)
        archive.add_path(str(path), schemas.Portrait.model_validate(row).file_name)
    yield from archive
