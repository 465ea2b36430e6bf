"""Routes of styles and of templates, the pictures that callers upload to put people into."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, File, Path, Query, Response, UploadFile

from pipelines.folders import cut_outs
from pipelines.guards.pictures import watch_of
from portrait.errors import OperatorError, UserError
from tasks import schemas
from tasks.api import admission, images
from tasks.api.context import (
    AppContext,
    AuthenticatedRoute,
    CallerDep,
    ContextDep,
    ListPagingDep,
    PagingDep,
    PathId,
    UndoQuery,
    created,
    page_of,
)
from tasks.api.images import Side
from tasks.api.picture_pool import Scene
from tasks.api.problems import problem_responses
from tasks.jobs import Job, required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.retention import template_due
from tasks.ledger.rows import TemplateRow
from tasks.ledger.usage import MEGA
from tasks.schemas.shared import Id
from tasks.settings import TaskSettings
from tasks.styles.available import shows_samples
from tasks.styles.terms import with_terms
from templates.catalog import Entry
from templates.hashes import PREVIEW
from templates.lint import Installed, lint_terms
from templates.schema import group_of

router = APIRouter(tags=["styles"], route_class=AuthenticatedRoute)
NO_WORKER = "No worker for it is running. An operator can start one."


@router.get("/styles", responses=problem_responses(401, 422))
def list_styles(context: ContextDep, _: CallerDep, paging: ListPagingDep) -> schemas.Page[schemas.Style]:
    """The styles that portraits can be made in, in the order of their ids."""
    missing, here = missing_by_ability(context), with_terms(Installed(), context.installation.flows)
    entries, more = page_of(context.styles.entries(), paging, lambda entry: entry.style.id)
    return schemas.Page(items=[_style(context, entry, missing, here) for entry in entries], next=more)


@router.get("/styles/{id}", responses=problem_responses(401, 404, 422))
def get_style(id: PathId, context: ContextDep, _: CallerDep) -> schemas.Style:
    """One style."""
    here = with_terms(Installed(), context.installation.flows)
    return _style(context, context.styles.find(id), missing_by_ability(context), here)


@router.get("/styles/{id}/preview", **images.picture_route(401, 403, 404, 410, 422))
def get_style_preview(
    id: PathId,
    context: ContextDep,
    caller: CallerDep,
    side: Side = None,
    person: Annotated[
        Id | None, Query(description="Show a studio style with this person, where their photos can.")
    ] = None,
) -> Response:
    """The preview of a style, or its picture, as a JPEG; with a person, of them, at most 480 pixels long."""
    entry = context.styles.find(id)
    preview = entry.folder / PREVIEW
    picture = (None if preview.is_file() else entry.picture()) or preview
    if person is not None:
        own = _own_preview(context, caller.owner, person, entry)
        return images.picture_response(context.thumbnails, picture, "image/jpeg", min(side or 480, 480), preview=own)
    response = images.picture_response(context.thumbnails, picture, "image/jpeg", side or 1024)
    response.headers["Cache-Control"] = images.CATALOGUE
    return response


@router.get("/styles/{id}/samples/{number}", **images.picture_route(401, 404, 422))
def get_style_sample(
    id: PathId, number: Annotated[int, Path(ge=1, le=9)], context: ContextDep, _: CallerDep, side: Side = None
) -> Response:
    """A sample person in a style as a JPEG; `samples` of the style says how many there are."""
    folder = context.files.fetch_folder(context.files.style_samples(id, context.styles.find(id).style.version))
    response = images.picture_response(context.thumbnails, folder / f"{number}.jpg", "image/jpeg", side or 1024)
    response.headers["Cache-Control"] = images.CATALOGUE
    return response


def _own_preview(context: AppContext, owner: str, person: str, entry: Entry) -> images.Preview | None:
    """What is painted of a person in a studio style; None for other kinds, and where they have no cut-out.

    Raises `not_found`, `erased`, `no_consent`.
    """
    context.ledger.people.require_consent(owner, person)
    style = entry.style
    if style.kind != "studio":
        return None
    for training_set in context.ledger.people.training_sets(owner, person)[:1]:
        folder = context.files.training_set(owner, person, training_set.id)
        if not context.guards.may_preview(owner, person, training_set.id):
            return None
        for cut_out in (cut_outs.place(folder, style.compositions), cut_outs.place(folder)):
            context.files.fetch(cut_out.with_suffix(".json"))
            if context.files.fetch(cut_out).is_file():
                place = entry.picture()
                behind = "" if place is None else str(place)
                watch = watch_of(context.installation.flows)
                scene = Scene(style.backdrop, style.compositions, style.retouch, behind, style.blur, watch)
                return images.Preview(cut_out, scene)
    return None


def _check_upload(upload: admission.Upload) -> None:
    """What is checked before a picture is read: the statement about the people on it, and quotas."""
    _stated(upload.ledger, upload.tasks, upload.query.get("statement"))
    admission.own_picture(upload)


@router.post(
    "/templates",
    status_code=201,
    response_model=schemas.Template,
    responses=problem_responses(400, 401, 403, 409, 413, 422, 429, 503),
)
@admission.before_body(_check_upload)
def upload_template(
    file: Annotated[UploadFile, File(description="A picture with at least one face.")],
    context: ContextDep,
    caller: CallerDep,
    statement: Annotated[
        str | None,
        Query(
            pattern=r"^[A-Za-z0-9._-]{1,40}$", description="Version of the text whose statement `pictures` you make."
        ),
    ] = None,
) -> Response:
    """Upload a picture that people can be put into. A job detects its faces and numbers them."""
    stated = _stated(context.ledger, context.tasks, statement)
    now, quotas = context.now(), context.tasks.quotas
    id, job = new_id("template", now), new_id("job", now)
    place = context.files.template(caller.owner, id)
    saved, header = images.save_guarded_picture(context, file, place, caller.owner)
    name, size = images.display_name(file), header.size
    row = TemplateRow(
        id, caller.owner, name, saved.bytes, size.width, size.height, header.format, job, now, statement=stated
    )
    stored: TemplateRow | None = None
    try:
        stored = context.ledger.templates.add(row, quotas.templates, quotas.upload_megapixels_a_day * MEGA)
        context.enqueue(Job(job, caller.owner, "look", "cpu", {"template": id}, now, needs=required_abilities("look")))
    except (UserError, OperatorError):
        context.files.remove(place)
        if stored is not None:
            context.finish(context.ledger.erasures.erase_template(context.erasure_by(caller), id))
        raise
    if stated:
        context.ledger.audit.add(caller.actor, "picture.stated", id, {"text": stated}, now)
    return created(schemas.Template.model_validate(row), f"/v1/templates/{id}")


@router.get("/templates", responses=problem_responses(401, 422))
def list_templates(context: ContextDep, caller: CallerDep, paging: PagingDep) -> schemas.Page[schemas.Template]:
    """The caller's own pictures, the newest first."""
    page = context.ledger.templates.list(caller.owner, paging.cursor, paging.limit)
    items = [_template(context, row) for row in page.items]
    told = [item.id for item in items if item.erased_soon]
    if told:
        context.ledger.retention.mark_templates_warned(caller.owner, told, context.now())
    return schemas.Page(items=items, next=page.next)


@router.get("/templates/{id}", responses=problem_responses(401, 404, 410, 422))
def get_template(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Template:
    """One picture with its faces, numbered from the left."""
    return _template(context, context.ledger.templates.get(caller.owner, id))


@router.get("/templates/{id}/file", **images.picture_route(401, 404, 410, 422))
def get_template_file(id: PathId, context: ContextDep, caller: CallerDep, side: Side = None) -> Response:
    """The picture as it was uploaded, or an upright JPEG of at most `side` pixels."""
    row = context.ledger.templates.get(caller.owner, id)
    path = context.files.fetch(context.files.template(caller.owner, id))
    context.ledger.retention.use_template(caller.owner, id, context.now())
    return images.picture_response(context.thumbnails, path, images.media_type(row.format), side)


@router.put("/templates/{id}/statement", responses=problem_responses(401, 403, 404, 410, 422))
def state_template(
    id: PathId, body: schemas.StatementRequest, context: ContextDep, caller: CallerDep
) -> schemas.Template:
    """State that the people on a picture agreed, of one that was uploaded without it."""
    version = _stated(context.ledger, context.tasks, body.text_version)
    row = context.ledger.templates.state(caller.owner, id, version)
    context.ledger.audit.add(caller.actor, "picture.stated", id, {"text": version}, context.now())
    return _template(context, row)


@router.delete("/templates/{id}", status_code=204, responses=problem_responses(401, 404, 410, 422))
def delete_template(id: PathId, context: ContextDep, caller: CallerDep, undo: UndoQuery = False) -> None:
    """Delete a picture; portraits that were made in it stay."""
    if undo:
        context.ledger.undo.remove(context.erasure_by(caller), "template", id)
        return
    context.finish(context.ledger.erasures.erase_template(context.erasure_by(caller), id))


@router.post("/templates/{id}/restore", responses=problem_responses(401, 404, 409, 410, 422))
def restore_template(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Template:
    """Bring a picture back that was deleted with `undo`; 410 when it is too late."""
    context.ledger.undo.restore(context.erasure_by(caller), "template", id, context.tasks.quotas.templates)
    return _template(context, context.ledger.templates.get(caller.owner, id))


def _template(context: AppContext, row: TemplateRow) -> schemas.Template:
    """A picture with what the job that looked at it says of faces that may have been missed."""
    due = template_due(row, context.tasks.retention_by_kind, context.now())
    when = {"erased_on": datetime.fromtimestamp(due.on, UTC), "erased_soon": due.soon}
    found = schemas.Template.model_validate(row).model_copy(update=when)
    if row.faces is None:
        return found
    try:
        missed = context.ledger.jobs.get(row.owner, row.job).result.get("missed", [])
    except UserError:  # jobs are forgotten before pictures are
        missed = []
    return found.model_copy(update={"missed": [schemas.FaceBox.model_validate(each) for each in missed]})


def _stated(ledger: Ledger, tasks: TaskSettings, version: str | None) -> str:
    """The version of the statement about the people on a picture; raises `unknown_text`, `statement_missing`."""
    if version is None:
        if tasks.consent.statements:
            sentence = "State that the people on the picture agreed: give the version of the text as `statement`."
            raise UserError("statement_missing", sentence)
        return ""
    text = ledger.consents.known(version, "")
    if not text.content.get("pictures"):
        raise UserError("unknown_text", f"The text {version!r} states nothing about pictures. Ask for the present one.")
    return text.version


def missing_by_ability(context: AppContext) -> Mapping[str, list[str]]:
    """What is missing by ability, one sentence each; empty for an ability that a live worker has."""
    found: dict[str, list[str]] = {}
    for worker in context.ledger.workers.list_live(context.now()):
        found |= {name: list(lines) for name, lines in worker.missing.items() if found.get(name) != []}
        found |= {name: [] for name in worker.abilities}
    return found


def _style(context: AppContext, entry: Entry, by_ability: Mapping[str, list[str]], here: Installed) -> schemas.Style:
    """A style with what keeps it from being drawn in; of `here` the terms that it is held to."""
    file = entry.style
    missing = [*(each.tip for each in lint_terms(file, here)), *by_ability.get(f"draw:{file.kind}", [NO_WORKER])]
    samples = (context.files.samples(file.id, file.version) or 0) if shows_samples(entry) else 0
    found = {"group": group_of(file), "samples": samples, "ready": not missing, "missing": missing}
    return schemas.Style.model_validate({**file.model_dump(), **found})
