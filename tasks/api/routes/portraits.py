"""The gallery: portraits listed, seen, kept as favourites, taken home, deleted."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from zipstream import ZipStream

from portrait.errors import UserError
from tasks import schemas
from tasks.api import images, serializers
from tasks.api.context import AnId, Cursor, Guarded, Limit, Office, TheCaller, TheOffice
from tasks.api.images import Side
from tasks.api.problems import documented
from tasks.api.routes.selfies import PICTURE
from tasks.ledger.portraits import Which
from tasks.ledger.rows import PortraitRow

router = APIRouter(prefix="/portraits", tags=["portraits"], route_class=Guarded)
MOST_IN_A_ZIP = 500
ZIP = {200: {"description": "A zip of the portraits.", "content": {"application/zip": {}}}}
AFilter = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{0,64}$")]


@router.get("", responses=documented(401, 422))
def list_portraits(  # noqa: PLR0913 -- each is a parameter of the query
    office: TheOffice,
    caller: TheCaller,
    person: AFilter = "",
    job: AFilter = "",
    favourite: bool = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> schemas.Page[schemas.Portrait]:
    """Your portraits, the newest first; of one job, the best first."""
    page = office.store.portraits.list(caller.owner, Which(person, job, favourite), cursor, limit)
    return schemas.Page(items=[serializers.portrait(row) for row in page.items], next=page.next)


@router.get("/zip", response_class=StreamingResponse, responses={**ZIP, **documented(401, 404, 410, 422)})
def get_zip(
    office: TheOffice,
    caller: TheCaller,
    id: Annotated[
        list[str] | None, Query(max_length=MOST_IN_A_ZIP, description="These; else those of the filters.")
    ] = None,
    person: AFilter = "",
    job: AFilter = "",
    favourite: bool = False,
) -> Response:
    """Many portraits as one zip, streamed; the marks in the files stay."""
    rows = (
        office.store.portraits.some(caller.owner, list(dict.fromkeys(each[:64].replace("\0", "") for each in id)))
        if id
        else office.store.portraits.list(caller.owner, Which(person, job, favourite), None, MOST_IN_A_ZIP).items
    )
    there = [row for row in rows if office.files.portrait(caller.owner, row.job, row.file).is_file()]
    if not there:
        raise UserError("not_found", "There are no such portraits.")
    headers = {"Content-Disposition": 'attachment; filename="portraits.zip"'}
    return StreamingResponse(_zip(office, caller.owner, there), media_type="application/zip", headers=headers)


@router.get("/{id}", responses=documented(401, 404, 410, 422))
def get_portrait(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Portrait:
    """One portrait with its measures and its recipe."""
    return serializers.portrait(office.store.portraits.get(caller.owner, id))


@router.get("/{id}/file", response_class=Response, responses={**PICTURE, **documented(401, 404, 410, 422)})
def get_portrait_file(id: AnId, office: TheOffice, caller: TheCaller, side: Side = None) -> Response:
    """The portrait as it was delivered, marked; or small, for a page."""
    row = office.store.portraits.get(caller.owner, id)
    path = office.files.portrait(caller.owner, row.job, row.file)
    return images.send(office.reduced, path, images.SUFFIX_MEDIA[row.format], side, name_of(row))


@router.patch("/{id}", responses=documented(401, 404, 410, 422))
def change_portrait(id: AnId, change: schemas.PortraitChange, office: TheOffice, caller: TheCaller) -> schemas.Portrait:
    """Make it a favourite, or not."""
    return serializers.portrait(office.store.portraits.mark(caller.owner, id, change.favourite))


@router.delete("/{id}", status_code=204, responses=documented(401, 404, 410, 422))
def delete_portrait(id: AnId, office: TheOffice, caller: TheCaller) -> None:
    """Delete one."""
    gone = office.store.portraits.delete(caller.owner, id, office.now())
    office.files.erase_file(office.files.portrait(caller.owner, gone.job, gone.file))


def name_of(row: PortraitRow) -> str:
    """What a portrait is called when it is taken home."""
    return f"{row.style}-{row.id.removeprefix('portrait_')[-6:]}-{row.number}.{row.format}"


def _zip(office: Office, owner: str, rows: Sequence[PortraitRow]) -> Iterator[bytes]:
    archive = ZipStream()  # stored: pictures are compressed already
    for row in rows:
        archive.add_path(str(office.files.portrait(owner, row.job, row.file)), name_of(row))
    yield from archive
