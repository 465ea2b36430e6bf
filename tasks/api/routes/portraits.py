"""Routes of portraits: list, places in a list, files, zips, favourites and names, delete and restore."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import PurePath
from typing import Annotated, Literal, TypeAlias

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from zipstream import ZipStream

from pipelines import deliver
from pipelines.marks.marks import open_marks
from pipelines.model_store.store import ModelStore
from portrait.errors import OperatorError, UserError
from tasks import exporting, file_names, schemas
from tasks.api import images, serializers
from tasks.api.context import (
    AppContext,
    AuthenticatedRoute,
    CallerDep,
    ContextDep,
    PagingDep,
    PathId,
    UndoQuery,
    from_parameters,
)
from tasks.api.images import Side
from tasks.api.problems import problem_responses
from tasks.ledger.pictures import PortraitFilter, PortraitSort
from tasks.ledger.rows import PortraitRow
from tasks.schemas.people import Language

router = APIRouter(prefix="/portraits", tags=["portraits"], route_class=AuthenticatedRoute)
MAX_ZIP_FILES = 500
ZIP_RESPONSES = {200: {"description": "A zip of the portraits.", "content": {"application/zip": {}}}}
PICTURE_TRIES = 20
"""Times that a zip asks for a picture in another form while others are before it."""
FilterQuery = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{0,64}$")]
SortQuery: TypeAlias = Annotated[
    PortraitSort,
    Query(description="`likeness`: the most alike first; ID photos that break rules come last."),
]
Format: TypeAlias = Annotated[
    Literal["jpg", "png", "webp"] | None,
    Query(description="Write it in this format, with all metadata; as it was delivered without."),
]
Titles: TypeAlias = Annotated[Language, Query(description="Of the style's title in the name of the file.")]


async def get_filter(
    person: FilterQuery = "", job: FilterQuery = "", favourite: bool = False, order: FilterQuery = ""
) -> PortraitFilter:
    """The filter that a request names."""
    return PortraitFilter(person, job, favourite, order)


FilterDep = Annotated[PortraitFilter, Depends(get_filter)]


class Rendering:
    """How portraits are downloaded: a format, a size, a language for their names."""

    def __init__(self, format: Format = None, side: Side = None, language: Titles = "en") -> None:
        self.format, self.side, self.language = format, side, language

    def changes(self, row: PortraitRow) -> bool:
        """Whether it is another file than the one that was delivered; raises `id_photo_fixed`."""
        smaller = self.side is not None and self.side < max(row.width, row.height)
        if smaller and is_id_photo(row):
            sentence = "An ID photo has the size of its rule. Download it as it is, or in another format."
            raise UserError("id_photo_fixed", sentence)
        return smaller or self.suffix(row) != row.format

    def suffix(self, row: PortraitRow) -> str:
        """The suffix of the file."""
        return self.format or row.format


RenderingDep = Annotated[Rendering, from_parameters(Rendering)]


@router.get("", responses=problem_responses(401, 422))
def list_portraits(
    context: ContextDep,
    caller: CallerDep,
    wanted: FilterDep,
    paging: PagingDep,
    sort: SortQuery = "newest",
    recipe: Annotated[bool, Query(description="Whether recipes are listed too: they are most of an answer.")] = True,
) -> schemas.PortraitPage:
    """Your portraits, the newest or the most alike first; of one job, the best first."""
    repository = context.ledger.portraits
    page = repository.list(caller.owner, wanted, paging.cursor, paging.limit, sort, recipe)
    items = _serialized(context, caller.owner, page.items, recipe)
    return schemas.PortraitPage(items=items, next=page.next, total=repository.count(caller.owner, wanted))


@router.get(
    "/zip", response_class=StreamingResponse, responses={**ZIP_RESPONSES, **problem_responses(401, 404, 410, 422)}
)
def download_portraits(
    context: ContextDep,
    caller: CallerDep,
    wanted: FilterDep,
    rendering: RenderingDep,
    id: Annotated[
        list[str] | None, Query(max_length=MAX_ZIP_FILES, description="These; else those of the filters.")
    ] = None,
) -> Response:
    """Portraits as one zip, streamed; the metadata in the files stays. An ID photo is never made smaller."""
    if id:
        ids = dict.fromkeys(each[:64].replace("\0", "") for each in id)
        rows = context.ledger.portraits.get_many(caller.owner, list(ids))
    else:
        rows = context.ledger.portraits.list(caller.owner, wanted, None, MAX_ZIP_FILES).items
    files = {job: context.files.names(context.files.portraits(caller.owner, job)) for job in {row.job for row in rows}}
    there = [row for row in rows if row.file in files[row.job]]
    if not there:
        raise UserError("not_found", "There are no such portraits.")
    changed = [rendering.changes(row) for row in there]
    context.ledger.retention.use_portraits(caller.owner, there, context.now())
    stems = file_stems(context, caller.owner, there, rendering.language)
    names = file_names.unique_names(stems, map(rendering.suffix, there))
    headers = {"Content-Disposition": 'attachment; filename="portraits.zip"', "Cache-Control": "no-store"}
    content = _zip(context, rendering, list(zip(there, names, changed, strict=True)))
    return StreamingResponse(content, media_type="application/zip", headers=headers)


@router.get("/{id}", responses=problem_responses(401, 404, 410, 422))
def get_portrait(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Portrait:
    """One portrait with its scores and its recipe."""
    return _serialized(context, caller.owner, [context.ledger.portraits.get(caller.owner, id)])[0]


@router.get("/{id}/neighbours", responses=problem_responses(401, 404, 410, 422))
def get_neighbours(
    id: PathId, context: ContextDep, caller: CallerDep, wanted: FilterDep, sort: SortQuery = "newest"
) -> schemas.Neighbours:
    """The portraits before and after one in the list of these filters and this order, and its place there."""
    return schemas.Neighbours.model_validate(context.ledger.portraits.place(caller.owner, id, wanted, sort))


@router.get("/{id}/file", **images.picture_route(401, 404, 410, 422, linked=True))
def get_portrait_file(
    id: PathId,
    context: ContextDep,
    caller: CallerDep,
    rendering: RenderingDep,
    download: Annotated[bool, Query(description="With `side`, a file to keep, with its metadata.")] = False,
) -> Response:
    """The portrait as it was delivered, with its metadata, or in another format or size; or a small JPEG for a page.

    `side` alone asks for the small JPEG, which carries no metadata; with `format` or `download` for a file to keep.
    """
    row = context.ledger.portraits.get(caller.owner, id)
    path = context.files.portrait(caller.owner, row.job, row.file)
    changes = (rendering.format is not None or download) and rendering.changes(row)
    context.ledger.retention.use_portraits(caller.owner, [row], context.now())
    if rendering.side is not None and rendering.format is None and not download:
        media = images.SUFFIX_MEDIA_TYPES[row.format]
        return images.picture_response(context.thumbnails, context.files.fetch(path), media, rendering.side)
    if not changes and (link := context.files.link(path, context.tasks.storage.links)):
        return RedirectResponse(link, 307, {"Cache-Control": "no-store"})
    path, suffix = context.files.fetch(path), rendering.suffix(row)
    name = f"{file_stems(context, caller.owner, [row], rendering.language)[0]}.{suffix}"
    disposition = file_names.attachment(name, f"portrait-{row.id[-6:]}-{row.number}.{suffix}")
    if changes:
        if not path.is_file():
            raise UserError("not_found", "The file is not there.")
        sign = partial(deliver.sign_converted, original=path, marks=open_marks(context.installation.flows.marks))
        return images.ConvertedResponse(context.thumbnails, path, suffix, rendering.side, disposition, sign)
    return images.file_response(path, images.SUFFIX_MEDIA_TYPES[row.format], disposition)


@router.patch("/{id}", responses=problem_responses(401, 404, 410, 422))
def update_portrait(
    id: PathId, body: schemas.PortraitUpdate, context: ContextDep, caller: CallerDep
) -> schemas.Portrait:
    """Mark a portrait as a favourite, or not; give it a name, or none."""
    named = {} if body.name is None else {"title": body.name}
    marked = {} if body.favourite is None else {"favourite": body.favourite}
    row = context.ledger.portraits.change(caller.owner, id, **marked, **named)
    context.ledger.retention.use_portraits(caller.owner, [row], context.now())
    return _serialized(context, caller.owner, [row])[0]


@router.delete("/{id}", status_code=204, responses=problem_responses(401, 404, 410, 422))
def delete_portrait(id: PathId, context: ContextDep, caller: CallerDep, undo: UndoQuery = False) -> None:
    """Delete a portrait, or hide it until the time to restore it is over."""
    if undo:
        context.ledger.undo.remove(context.erasure_by(caller), "portrait", id)
    else:
        context.finish(context.ledger.erasures.erase_portrait(context.erasure_by(caller), id))


@router.post("/{id}/restore", responses=problem_responses(401, 404, 410, 422))
def restore_portrait(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Portrait:
    """Bring a portrait back that was deleted with `undo`; 410 when it is too late."""
    context.ledger.undo.restore(context.erasure_by(caller), "portrait", id)
    return _serialized(context, caller.owner, [context.ledger.portraits.get(caller.owner, id)])[0]


def is_id_photo(row: PortraitRow) -> bool:
    """Whether a portrait is an ID photo, which is measured by rules."""
    return "rules" in dict(row.recipe.get("drawn", {}))


def _serialized(
    context: AppContext, owner: str, rows: Sequence[PortraitRow], recipe: bool = True
) -> list[schemas.Portrait]:
    """Portraits with when they are erased; where that is near, their owner is told by this."""
    retention, now = context.ledger.retention, context.now()
    due = retention.portraits_due(owner, rows, context.tasks.retention_by_kind, now)
    told = {row.job for row in rows if due[row.id].soon}
    if told:
        retention.mark_people_warned(owner, told, now)
    people, models = context.ledger.portraits.people(rows), ModelStore(context.installation.flows.models)
    shown = [serializers.serialize_portrait(row, due[row.id], people[row.id], models, recipe) for row in rows]
    orders = context.ledger.portraits.orders(rows)
    return [each.model_copy(update={"order": orders.get(each.job, "")}) for each in shown]


def file_stems(context: AppContext, owner: str, rows: Sequence[PortraitRow], language: str) -> list[str]:
    """Names of files without suffixes: who is on a portrait, the style's title, and its number."""
    on = context.ledger.portraits.people(rows)
    names = context.ledger.people.names(owner, {person for people in on.values() for person in people.values()})
    titles = {key: _title(context, owner, *key, language) for key in {(row.style, row.style_version) for row in rows}}
    return [
        file_names.portrait_stem(
            row.title,
            [names[person] for person in dict.fromkeys(on[row.id].values()) if person in names],
            titles[row.style, row.style_version],
            row.number,
        )
        for row in rows
    ]


def _title(context: AppContext, owner: str, style: str, version: int, language: str) -> str:
    """The title of a style in a language, or the name of an uploaded picture; the id where it is gone."""
    with suppress(UserError, OperatorError):
        if style.startswith("template_"):
            return PurePath(context.ledger.templates.get(owner, style).name).stem
        file = context.styles.find(style, version).style
        return file.titles.get(language, file.title)
    return "" if style.startswith("template_") else style


def _zip(context: AppContext, rendering: Rendering, files: Sequence[tuple[PortraitRow, str, bool]]) -> Iterator[bytes]:
    """The zip: of each portrait the name, and whether it is another file than the one that was delivered."""
    archive = ZipStream()  # stored: pictures are compressed already
    for row, name, changed in files:
        path = context.files.portrait(row.owner, row.job, row.file)
        if changed:
            archive.add(_converted(context, rendering, row), name)
        else:
            archive.add(exporting.read(context.files, path), name)
    yield from archive


def _converted(context: AppContext, rendering: Rendering, row: PortraitRow) -> Iterator[bytes]:
    """A portrait in another form, made when the zip comes to it."""
    for left in reversed(range(PICTURE_TRIES)):
        content = _convert(context, rendering, row, last=not left)
        if content is not None:
            yield content
            return
        time.sleep(1)


def _convert(context: AppContext, rendering: Rendering, row: PortraitRow, last: bool) -> bytes | None:
    """A portrait in another form; None where others are before it, which the last try raises."""
    path = context.files.fetch(context.files.portrait(row.owner, row.job, row.file))
    try:
        made = context.thumbnails.pool.submit(path, rendering.side or 0, row.owner, format=rendering.suffix(row))
        marks = open_marks(context.installation.flows.marks)
        return deliver.sign_converted(made.result(images.WAIT_SECONDS), path, marks)
    except (UserError, TimeoutError) as error:
        if last or (isinstance(error, UserError) and error.code != "busy"):
            raise
        return None
