"""Routes of operators for styles: drafts, checks, sample renders, versions, statistics, import and export."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Response, UploadFile
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from pipelines import image_io
from portrait.errors import OperatorError, UserError
from tasks import schemas
from tasks.api import admission, images, serializers
from tasks.api.context import (
    AppContext,
    AuthenticatedRoute,
    ContextDep,
    IdempotencyDep,
    ListPagingDep,
    OperatorDep,
    PathId,
    page_of,
)
from tasks.api.images import Side
from tasks.api.problems import problem_responses
from tasks.api.routes.jobs import accepted
from tasks.api.routes.ordering.drafts import newest_identity
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.rows import DraftRow
from tasks.styles.service import StyleService
from templates import schema
from templates.catalog import Entry
from templates.schema import StyleFile

router = APIRouter(prefix="/operator", tags=["operator styles"], route_class=AuthenticatedRoute)
MAX_FILES = 500
"""Files of one import."""
JOB_PROBLEMS = problem_responses(401, 403, 404, 409, 422, 429, 503)
ZIP_RESPONSES = {200: {"description": "A pack of styles.", "content": {"application/zip": {}}}}
EditionQuery = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Only if the draft is still this edition.")
]
VersionQuery = Annotated[int, Query(ge=1, le=2**31 - 1)]


@router.get("/styles", responses=problem_responses(401, 403, 422))
def list_operator_styles(
    context: ContextDep,
    _: OperatorDep,
    paging: ListPagingDep,
    status: Annotated[list[schemas.StyleStatus] | None, Query(description="Those with any of these.")] = None,
    kind: Annotated[str, Query(pattern="^[a-z]{0,20}$")] = "",
    tag: Annotated[str, Query(max_length=60)] = "",
) -> schemas.Page[schemas.OperatorStyle]:
    """Every style with its draft and versions, in the order of their ids."""
    found = [
        each
        for each in serializers.list_styles(_service(context))
        if (not status or set(status) & set(each.status)) and kind in ("", each.kind) and (not tag or tag in each.tags)
    ]
    styles, more = page_of(found, paging, lambda style: style.id)
    return schemas.Page(items=list(styles), next=more)


@router.get("/style-schema", responses=problem_responses(401, 403))
def get_style_schema(_: OperatorDep) -> dict[str, Any]:
    """The JSON Schema of a style.toml."""
    return schema.json_schema()


@router.post(
    "/styles/import",
    status_code=201,
    responses=problem_responses(400, 401, 403, 409, 413, 422, 503),
    form_limits={"max_files": MAX_FILES},
)
@admission.before_body(admission.styles)
def import_styles(
    files: Annotated[
        list[UploadFile],
        File(
            description="One pack (.zip) or style.toml; or styles.csv, .json of FaceChain or Fooocus, EasyPhoto's .jpg."
        ),
    ],
    context: ContextDep,
    caller: OperatorDep,
) -> schemas.StyleImportResult:
    """Import styles as drafts: all of them or none. What was skipped is listed in `left`."""
    service = _service(context)
    with tempfile.TemporaryDirectory(prefix=".styles.", dir=context.files.incoming) as folder:
        source = _save_uploads(context, files, Path(folder))
        try:
            imported = service.import_drafts(source, caller.owner)
        except UserError as error:
            # The temporary path of an upload is no part of the message.
            raise UserError(error.code, error.message.replace(f" at {source}", ""), error.details) from error
        result = serializers.serialize_import(service, imported)
        context.audit(caller, "style.imported", "", styles=len(result.styles))
        return result


@router.get(
    "/style-pack",
    response_class=FileResponse,
    responses={**ZIP_RESPONSES, **problem_responses(401, 403, 404, 422, 503)},
)
def export_styles(
    context: ContextDep, _: OperatorDep, id: Annotated[list[str], Query(min_length=1, max_length=200)]
) -> Response:
    """Export the newest versions of styles, or drafts where none was published, as one zip with hashes."""
    with tempfile.NamedTemporaryFile(suffix=".zip", dir=context.files.incoming, delete=False) as made:
        place = Path(made.name)
    try:
        _service(context).export([each[:64].replace("\0", "") for each in id], place)
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    erase = BackgroundTask(place.unlink)
    return FileResponse(place, media_type="application/zip", filename="styles.zip", background=erase)


@router.get("/styles/{id}", responses=problem_responses(401, 403, 404, 422))
def get_operator_style(id: PathId, context: ContextDep, _: OperatorDep) -> schemas.OperatorStyle:
    """One style: its draft with findings of lint, and its versions."""
    return serializers.get_style(_service(context), id)


@router.get("/styles/{id}/figures", responses=problem_responses(401, 403, 404, 422))
def get_style_statistics(id: PathId, context: ContextDep, _: OperatorDep) -> schemas.StyleReport:
    """Uses, portraits, favourites, failures and likeness of a style, in total and by version."""
    serializers.get_style(_service(context), id)
    total, versions = context.ledger.statistics.versions(id)
    total, *each_version = (
        serializers.serialize_statistics(schemas.VersionStatistics, each) for each in (total, *versions)
    )
    return schemas.StyleReport(style=id, total=total, versions=each_version)


@router.put("/styles/{id}/draft", responses=problem_responses(401, 403, 409, 422, 503))
def write_draft(
    id: PathId, body: schemas.DraftRequest, context: ContextDep, caller: OperatorDep
) -> schemas.OperatorStyle:
    """Create or change a draft. Its picture is that of the draft, else of the newest version or built-in style."""
    service = _service(context)
    service.write_draft(id, body.content, body.edition, caller.owner)
    return serializers.get_style(service, id)


@router.delete("/styles/{id}/draft", status_code=204, responses=problem_responses(401, 403, 404, 409, 422))
def delete_draft(id: PathId, context: ContextDep, caller: OperatorDep, edition: EditionQuery = None) -> None:
    """Delete a draft; published versions stay."""
    _service(context).delete_draft(id, edition)
    context.audit(caller, "style.draft_deleted", id)


@router.post("/styles/{id}/picture", responses=problem_responses(400, 401, 403, 404, 409, 413, 422, 503))
@admission.before_body(admission.styles)
def set_draft_picture(
    id: PathId,
    file: Annotated[UploadFile, File(description="A JPEG, PNG or WebP; a template's with at least one face.")],
    context: ContextDep,
    caller: OperatorDep,
    edition: EditionQuery = None,
) -> schemas.OperatorStyle:
    """Replace the picture of a template's draft; a studio style gets the picture as its backdrop."""
    service = _service(context)
    place = context.files.incoming / new_id("picture", context.now())
    try:
        _, header = images.save_guarded_picture(context, file, place, caller.owner)
        service.set_picture(id, place, header.format, edition, caller.owner)
    finally:
        place.unlink(missing_ok=True)
    return serializers.get_style(service, id)


@router.get("/styles/{id}/draft/picture", **images.picture_route(401, 403, 404, 422))
def get_draft_picture(id: PathId, context: ContextDep, _: OperatorDep, side: Side = None) -> Response:
    """The picture of a draft."""
    service = _service(context)
    return _revalidated(_picture(context, service.entry(service.draft(id)), side))


@router.get("/styles/{id}/versions/{version}/picture", **images.picture_route(401, 403, 404, 422))
def get_version_picture(id: PathId, version: int, context: ContextDep, _: OperatorDep, side: Side = None) -> Response:
    """The picture of a published version."""
    row = context.ledger.styles.get(id, min(max(version, 0), 2**31 - 1))
    response = _picture(context, context.styles.entry(row), side)
    response.headers["Cache-Control"] = images.CATALOGUE
    return response


@router.post("/styles/{id}/check", status_code=202, response_model=schemas.Job, responses=JOB_PROBLEMS)
def check_draft(id: PathId, context: ContextDep, caller: OperatorDep, idempotency: IdempotencyDep) -> Response:
    """Queue a check of a draft's picture by a worker; fields are linted whenever the style is read."""
    draft = _service(context).draft(id)
    return idempotency.run(
        lambda id: _enqueue(context, caller.owner, _draft_job(id, "check", draft, frozenset({"look"})))
    )


@router.post(
    "/styles/{id}/test",
    status_code=202,
    response_model=schemas.Job,
    responses={**JOB_PROBLEMS, **problem_responses(410)},
)
def test_draft(
    id: PathId,
    context: ContextDep,
    caller: OperatorDep,
    idempotency: IdempotencyDep,
    body: schemas.StyleTestRequest | None = None,  # noqa: PT028  this is a route
) -> Response:
    """Queue sample renders of a draft, three people in its style, and a check of its picture.

    With `people` of your own, these are drawn: you alone see the pictures, and they are erased with the person.
    """
    service = _service(context)
    draft = service.draft(id)
    needs = _required_abilities(service.entry(draft).style)
    people = {str(number): person for number, person in enumerate(dict.fromkeys(body.people if body else ()), 1)}
    return idempotency.run(lambda job: _enqueue(context, caller.owner, _draft_job(job, "test", draft, needs), people))


@router.get("/styles/{id}/test/{number}", **images.picture_route(401, 403, 404, 422))
def get_sample_render(id: PathId, number: int, context: ContextDep, caller: OperatorDep, side: Side = None) -> Response:
    """One sample render of the last test; of somebody's own person for that operator alone."""
    test = _service(context).draft(id).tested
    if test is None:
        raise UserError("not_found", "This draft was not tried out yet.")
    for sample in test["samples"]:
        if sample["number"] == number and sample.get("person"):
            context.ledger.people.get(caller.owner, sample["person"])
    place = context.files.fetch(context.files.style_test(id, test["edition"]) / f"{min(max(number, 0), 99)}.jpg")
    return _revalidated(images.picture_response(context.thumbnails, place, "image/jpeg", side))


@router.post("/styles/{id}/publish", responses=problem_responses(401, 403, 404, 409, 422, 503))
def publish_draft(
    id: PathId, body: schemas.PublishRequest, context: ContextDep, caller: OperatorDep
) -> schemas.StyleVersion:
    """Publish the draft as the next version, which never changes. 409 with `errors` while there are findings."""
    service = _service(context)
    version = serializers.serialize_version(service, service.publish(id, body.edition, body.card))
    context.audit(caller, "style.published", id, version=version.version)
    return version


@router.post("/styles/{id}/retire", responses=problem_responses(401, 403, 404, 422))
def retire_style(
    id: PathId, context: ContextDep, caller: OperatorDep, version: VersionQuery | None = None
) -> schemas.OperatorStyle:
    """Retire one version, or all without a number. Portraits drawn with it can still be remade."""
    service = _service(context)
    service.retire(id, version)
    context.audit(caller, "style.retired", id, **({"version": version} if version else {}))
    return serializers.get_style(service, id)


def _service(context: AppContext) -> StyleService:
    return StyleService(context.ledger, context.files, context.now, context.installation.flows)


def _draft_job(id: str, kind: str, draft: DraftRow, needs: frozenset[str]) -> Job:
    """A check or a test of a draft, nobody's yet."""
    queue = "gpu.generate" if needs & {"draw:text", "draw:inpaint"} else "cpu"
    return Job(id, "", kind, queue, {"style": draft.id, "edition": draft.edition}, 0.0, needs=needs)


def _enqueue(context: AppContext, owner: str, job: Job, people: Mapping[str, str] = MappingProxyType({})) -> Response:
    """Queue a job for an owner; `people` are those of theirs that are drawn. Raises what `newest_identity` raises."""
    identities = {number: newest_identity(context, owner, person) for number, person in people.items()}
    drawn = {"people": dict(people), "identities": identities} if people else {}
    job = replace(job, owner=owner, created=context.now(), params={**job.params, **drawn})
    return accepted(context, context.enqueue(job, people))


def _required_abilities(style: StyleFile) -> frozenset[str]:
    """The abilities that a worker needs to render samples of a style."""
    if style.kind == "text":
        return frozenset({"draw:text"})
    if style.kind == "template" and style.engines[:1] == ("diffusion",):
        return frozenset({"draw:inpaint"})
    return frozenset({"prepare", f"draw:{style.kind}"})


def _save_uploads(context: AppContext, files: Sequence[UploadFile], folder: Path) -> Path:
    """Save the files of a request inside `folder`; returns the one pack or style.toml, or the folder."""
    if len(files) > MAX_FILES:
        raise UserError("nothing_to_import", f"Send at most {MAX_FILES} files at once.")
    places: list[Path] = []
    for upload in files:
        name = images.display_name(upload)
        place = folder / f"file-{len(places)}{Path(name).suffix.lower()}" if name.startswith(".") else folder / name
        if any(place.name.casefold() == other.name.casefold() for other in places):
            raise UserError("nothing_to_import", f"Two files are called {name[:80]!r}. Give each a name of its own.")
        places.append(place)
        largest = context.tasks.quotas.upload_megabytes * 1_000_000 if place.suffix == ".zip" else image_io.MAX_BYTES
        images.save_upload(context.files, upload, place, largest)
    alone = [place for place in places if place.suffix.lower() in {".zip", ".toml"}]
    if alone and len(places) > 1:
        raise UserError("nothing_to_import", "Send a pack or a style.toml by itself, or several JSON styles or JPEGs.")
    return alone[0] if alone else folder


def _picture(context: AppContext, entry: Entry, side: int | None) -> Response:
    try:
        place = entry.picture()
    except OperatorError as error:
        raise UserError("not_found", error.message) from error
    if place is None:
        raise UserError("not_found", "This style has no picture.")
    try:
        header = image_io.probe(place)  # never anything but a picture, whatever a style says lies there
    except UserError as error:
        raise UserError("not_found", f"The picture of this style cannot be shown. {error.message}") from error
    return images.picture_response(context.thumbnails, place, images.media_type(header.format), side)


def _revalidated(response: Response) -> Response:
    """A response that is revalidated each time: the picture at the address may change."""
    response.headers["Cache-Control"] = "private, no-cache"
    return response
