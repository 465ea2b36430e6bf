"""For operators: own styles from draft to retired; how they do; styles in and out."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Response, UploadFile
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from pipelines import image_io
from portrait.errors import OperatorError, UserError
from tasks import schemas
from tasks.api import images, style_serializers
from tasks.api.context import ActOnce, AnId, AnOperator, Guarded, Office, TheOffice
from tasks.api.images import Side
from tasks.api.problems import documented
from tasks.api.routes.jobs import accepted
from tasks.api.routes.selfies import PICTURE
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.rows import DraftRow
from tasks.styles.available import Offered
from tasks.styles.service import Workshop
from templates import schema
from templates.catalog import Entry
from templates.schema import StyleFile

router = APIRouter(prefix="/operator", tags=["styles of the house"], route_class=Guarded)
MOST_AT_ONCE = 500
"""Files of one import."""
ZIP = {200: {"description": "A pack of styles.", "content": {"application/zip": {}}}}
Edition = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Only if the draft is still this edition.")
]
Number = Annotated[int, Query(ge=1, le=2**31 - 1)]


@router.get("/styles", responses=documented(401, 403, 422))
def list_own_styles(
    office: TheOffice,
    _: AnOperator,
    status: Annotated[list[schemas.StyleStatus] | None, Query(description="Those with any of these.")] = None,
    kind: Annotated[str, Query(pattern="^[a-z]{0,20}$")] = "",
    tag: Annotated[str, Query(max_length=60)] = "",
) -> schemas.Page[schemas.OwnStyle]:
    """Every style with its draft and versions: what people see, and what they do not."""
    found = [
        each
        for each in style_serializers.every(_workshop(office))
        if (not status or set(status) & set(each.status)) and kind in ("", each.kind) and (not tag or tag in each.tags)
    ]
    return schemas.Page(items=found, next=None)


@router.get("/style-schema", responses=documented(401, 403))
def get_style_schema(_: AnOperator) -> dict[str, Any]:
    """The JSON Schema of what a style may say."""
    return schema.document()


@router.post("/styles/import", status_code=201, responses=documented(400, 401, 403, 409, 413, 422, 503))
def import_styles(
    files: Annotated[
        list[UploadFile],
        File(
            description="One pack (.zip) or style.toml; or FaceChain's .json styles; or .jpg pictures as EasyPhoto has."
        ),
    ],
    office: TheOffice,
    caller: AnOperator,
) -> schemas.StylesBrought:
    """Take styles in as drafts: all of them or none. What could not be carried over is told."""
    workshop = _workshop(office)
    with tempfile.TemporaryDirectory(prefix=".styles.", dir=office.files.incoming) as folder:
        source = _uploaded(office, files, Path(folder))
        try:
            return style_serializers.brought(workshop, workshop.bring(source, caller.owner))
        except UserError as error:
            # Where an upload lies for a moment is nobody's business.
            raise UserError(error.code, error.message.replace(f" at {source}", ""), error.details) from error


@router.get("/style-pack", response_class=FileResponse, responses={**ZIP, **documented(401, 403, 404, 422, 503)})
def export_styles(
    office: TheOffice, _: AnOperator, id: Annotated[list[str], Query(min_length=1, max_length=200)]
) -> Response:
    """Styles as one zip with their hashes: as they are offered, or their drafts where nothing was published."""
    with tempfile.NamedTemporaryFile(suffix=".zip", dir=office.files.incoming, delete=False) as made:
        place = Path(made.name)
    try:
        _workshop(office).export([each[:64].replace("\0", "") for each in id], place)
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    return FileResponse(
        place, media_type="application/zip", filename="styles.zip", background=BackgroundTask(place.unlink)
    )


@router.get("/styles/{id}", responses=documented(401, 403, 404, 422))
def get_own_style(id: AnId, office: TheOffice, _: AnOperator) -> schemas.OwnStyle:
    """One style: its draft with what is wrong with it, its versions."""
    return style_serializers.one(_workshop(office), id)


@router.get("/styles/{id}/figures", responses=documented(401, 403, 404, 422))
def get_style_figures(id: AnId, office: TheOffice, _: AnOperator) -> schemas.StyleReport:
    """How a style does: uses, portraits, favourites, failures, likeness; together and by version."""
    style_serializers.one(_workshop(office), id)
    total, versions = office.store.figures.versions(id)
    return schemas.StyleReport(
        style=id,
        total=style_serializers.figures(total),
        versions=[style_serializers.figures(each) for each in versions],
    )


@router.put("/styles/{id}/draft", responses=documented(401, 403, 409, 422, 503))
def write_draft(id: AnId, order: schemas.DraftOrder, office: TheOffice, caller: AnOperator) -> schemas.OwnStyle:
    """Make or change a draft. Its picture is that of the draft, or of the style as it is offered."""
    workshop = _workshop(office)
    workshop.write(id, order.content, order.edition, caller.owner)
    return style_serializers.one(workshop, id)


@router.delete("/styles/{id}/draft", status_code=204, responses=documented(401, 403, 404, 409, 422))
def delete_draft(id: AnId, office: TheOffice, _: AnOperator, edition: Edition = None) -> None:
    """Throw a draft away; published versions stay."""
    _workshop(office).remove(id, edition)


@router.post("/styles/{id}/picture", responses=documented(400, 401, 403, 404, 409, 413, 422, 503))
def put_picture(
    id: AnId,
    file: Annotated[UploadFile, File(description="A JPEG, PNG or WebP with at least one face.")],
    office: TheOffice,
    caller: AnOperator,
    edition: Edition = None,
) -> schemas.OwnStyle:
    """Give a template's draft another picture."""
    workshop = _workshop(office)
    place = office.files.incoming / new_id("picture", office.now())
    try:
        _, header = images.take(office.files, file, place)
        workshop.hang(id, place, header.format, edition, caller.owner)
    finally:
        place.unlink(missing_ok=True)
    return style_serializers.one(workshop, id)


@router.get(
    "/styles/{id}/draft/picture", response_class=Response, responses={**PICTURE, **documented(401, 403, 404, 422)}
)
def get_draft_picture(id: AnId, office: TheOffice, _: AnOperator, side: Side = None) -> Response:
    """The picture of a draft."""
    workshop = _workshop(office)
    return _fresh(_picture_of(office, workshop.entry(workshop.draft(id)), side))


@router.get(
    "/styles/{id}/versions/{version}/picture",
    response_class=Response,
    responses={**PICTURE, **documented(401, 403, 404, 422)},
)
def get_version_picture(id: AnId, version: int, office: TheOffice, _: AnOperator, side: Side = None) -> Response:
    """The picture of a published version."""
    offered = Offered(office.store, office.files)
    return _picture_of(office, offered.entry(office.store.styles.get(id, min(max(version, 0), 2**31 - 1))), side)


@router.post(
    "/styles/{id}/check",
    status_code=202,
    response_model=schemas.Job,
    responses=documented(401, 403, 404, 409, 422, 429, 503),
)
def check_style(id: AnId, office: TheOffice, caller: AnOperator, once: ActOnce) -> Response:
    """Have a worker look at a draft's picture; words are read whenever the style is."""
    draft = _workshop(office).draft(id)
    return once(lambda: _asked(office, caller.owner, "check", draft, frozenset({"look"})))


@router.post(
    "/styles/{id}/test",
    status_code=202,
    response_model=schemas.Job,
    responses=documented(401, 403, 404, 409, 422, 429, 503),
)
def test_style(id: AnId, office: TheOffice, caller: AnOperator, once: ActOnce) -> Response:
    """Have a worker draw three people in a draft's style, and look at its picture."""
    workshop = _workshop(office)
    draft = workshop.draft(id)
    needs = _needs(workshop.entry(draft).style)
    return once(lambda: _asked(office, caller.owner, "test", draft, needs))


@router.get(
    "/styles/{id}/test/{number}", response_class=Response, responses={**PICTURE, **documented(401, 403, 404, 422)}
)
def get_sample(id: AnId, number: int, office: TheOffice, _: AnOperator, side: Side = None) -> Response:
    """One drawing of the last test."""
    told = _workshop(office).draft(id).tested
    if told is None:
        raise UserError("not_found", "This draft was not tried out yet.")
    place = office.files.style_test(id, told["edition"]) / f"{min(max(number, 0), 99)}.jpg"
    return _fresh(images.send(office.reduced, place, "image/jpeg", side))


@router.post("/styles/{id}/publish", responses=documented(401, 403, 404, 409, 422, 503))
def publish_style(id: AnId, order: schemas.PublishOrder, office: TheOffice, _: AnOperator) -> schemas.StyleVersion:
    """Make the draft the next version, which never changes. 409 while something is to be mended; `errors` says what."""
    workshop = _workshop(office)
    return style_serializers.version(workshop, workshop.publish(id, order.edition))


@router.post("/styles/{id}/retire", responses=documented(401, 403, 404, 422))
def retire_style(id: AnId, office: TheOffice, _: AnOperator, version: Number | None = None) -> schemas.OwnStyle:
    """Offer one version no more, or without a number none. What was drawn with it can be drawn again."""
    workshop = _workshop(office)
    workshop.retire(id, version)
    return style_serializers.one(workshop, id)


def _workshop(office: Office) -> Workshop:
    return Workshop(office.store, office.files, office.now)


def _asked(office: Office, owner: str, kind: str, draft: DraftRow, needs: frozenset[str]) -> Response:
    now = office.now()
    queue = "gpu.generate" if needs & {"draw:text", "draw:inpaint"} else "cpu"
    wants = {"style": draft.id, "edition": draft.edition}
    job = Job(new_id("job", now), owner, kind, queue, wants, now, needs=needs)
    return accepted(office, office.ask(job))


def _needs(style: StyleFile) -> frozenset[str]:
    """What a worker must be able to do to try a style out."""
    if style.kind == "text":
        return frozenset({"draw:text"})
    if style.kind == "template" and style.engines[:1] == ("diffusion",):
        return frozenset({"draw:inpaint"})
    return frozenset({"prepare", f"draw:{style.kind}"})


def _uploaded(office: Office, files: Sequence[UploadFile], folder: Path) -> Path:
    """Files of a request in a folder of their own; the one file, or the folder. Names lead nowhere else."""
    if len(files) > MOST_AT_ONCE:
        raise UserError("nothing_to_import", f"Send at most {MOST_AT_ONCE} files at once.")
    places: list[Path] = []
    for upload in files:
        name = images.name_of(upload)
        place = folder / f"file-{len(places)}{Path(name).suffix.lower()}" if name.startswith(".") else folder / name
        if any(place.name.casefold() == other.name.casefold() for other in places):
            raise UserError("nothing_to_import", f"Two files are called {name[:80]!r}. Give each a name of its own.")
        places.append(place)
        largest = office.tasks.quotas.upload_megabytes * 1_000_000 if place.suffix == ".zip" else image_io.MOST_BYTES
        images.keep(office.files, upload, place, largest)
    alone = [place for place in places if place.suffix.lower() in {".zip", ".toml"}]
    if alone and len(places) > 1:
        raise UserError("nothing_to_import", "Send a pack or a style.toml by itself, or several JSON styles or JPEGs.")
    return alone[0] if alone else folder


def _picture_of(office: Office, entry: Entry, side: int | None) -> Response:
    try:
        place = entry.picture()
    except OperatorError as error:
        raise UserError("not_found", error.message) from error
    if place is None:
        raise UserError("not_found", "This style has no picture.")
    suffix = place.suffix.removeprefix(".").lower().replace("jpeg", "jpg")
    return images.send(office.reduced, place, images.SUFFIX_MEDIA.get(suffix, "application/octet-stream"), side)


def _fresh(answer: Response) -> Response:
    """Ask again each time: another picture may lie under the address."""
    answer.headers["Cache-Control"] = "private, no-cache"
    return answer
