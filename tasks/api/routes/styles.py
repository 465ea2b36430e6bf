"""Routes of styles and of templates, the pictures that callers upload to put people into."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, File, Response, UploadFile

from portrait.errors import OperatorError, UserError
from tasks import schemas
from tasks.api import images
from tasks.api.context import AppContext, AuthenticatedRoute, CallerDep, ContextDep, PagingDep, PathId, created
from tasks.api.images import Side
from tasks.api.problems import problem_responses
from tasks.jobs import Job, required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.rows import TemplateRow
from templates.hashes import PREVIEW
from templates.schema import StyleFile

router = APIRouter(tags=["styles"], route_class=AuthenticatedRoute)
NO_WORKER = "No worker for it is running. An operator can start one."


@router.get("/styles", responses=problem_responses(401))
def list_styles(context: ContextDep, _: CallerDep) -> schemas.Page[schemas.Style]:
    """The styles that portraits can be made in."""
    missing = missing_by_ability(context)
    return schemas.Page(items=[_style(entry.style, missing) for entry in context.styles.entries()])


@router.get("/styles/{id}", responses=problem_responses(401, 404, 422))
def get_style(id: PathId, context: ContextDep, _: CallerDep) -> schemas.Style:
    """One style."""
    return _style(context.styles.find(id).style, missing_by_ability(context))


@router.get("/styles/{id}/preview", **images.picture_route(401, 404, 422))
def get_style_preview(id: PathId, context: ContextDep, _: CallerDep, side: Side = None) -> Response:
    """The preview of a style, or its picture, as a JPEG."""
    entry = context.styles.find(id)
    preview = entry.folder / PREVIEW
    picture = None if preview.is_file() else entry.picture()
    return images.picture_response(context.thumbnails, picture or preview, "image/jpeg", side or 1024)


@router.post(
    "/templates",
    status_code=201,
    response_model=schemas.Template,
    responses=problem_responses(400, 401, 409, 413, 422, 429, 503),
)
def upload_template(
    file: Annotated[UploadFile, File(description="A picture with at least one face.")],
    context: ContextDep,
    caller: CallerDep,
) -> Response:
    """Upload a picture that people can be put into. A job detects its faces and numbers them."""
    now = context.now()
    id, job = new_id("template", now), new_id("job", now)
    place = context.files.template(caller.owner, id)
    saved, header = images.save_picture(context.files, file, place)
    name, size = images.display_name(file), header.size
    row = TemplateRow(id, caller.owner, name, saved.bytes, size.width, size.height, header.format, job, now)
    stored: TemplateRow | None = None
    try:
        stored = context.ledger.templates.add(row, context.tasks.quotas.templates)
        context.enqueue(Job(job, caller.owner, "look", "cpu", {"template": id}, now, needs=required_abilities("look")))
    except (UserError, OperatorError):
        place.unlink(missing_ok=True)
        if stored is not None:
            context.ledger.templates.delete(caller.owner, id, now)
        raise
    return created(schemas.Template.model_validate(row), f"/v1/templates/{id}")


@router.get("/templates", responses=problem_responses(401, 422))
def list_templates(context: ContextDep, caller: CallerDep, paging: PagingDep) -> schemas.Page[schemas.Template]:
    """The caller's own pictures, the newest first."""
    page = context.ledger.templates.list(caller.owner, paging.cursor, paging.limit)
    return schemas.Page(items=[_template(context, row) for row in page.items], next=page.next)


@router.get("/templates/{id}", responses=problem_responses(401, 404, 410, 422))
def get_template(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Template:
    """One picture with its faces, numbered from the left."""
    return _template(context, context.ledger.templates.get(caller.owner, id))


@router.get("/templates/{id}/file", **images.picture_route(401, 404, 410, 422))
def get_template_file(id: PathId, context: ContextDep, caller: CallerDep, side: Side = None) -> Response:
    """The picture as it was uploaded, or an upright JPEG of at most `side` pixels."""
    row = context.ledger.templates.get(caller.owner, id)
    path = context.files.template(caller.owner, id)
    return images.picture_response(context.thumbnails, path, images.media_type(row.format), side)


@router.delete("/templates/{id}", status_code=204, responses=problem_responses(401, 404, 410, 422))
def delete_template(id: PathId, context: ContextDep, caller: CallerDep) -> None:
    """Delete a picture; portraits that were made in it stay."""
    context.ledger.templates.delete(caller.owner, id, context.now())
    context.files.erase_file(context.files.template(caller.owner, id))


def _template(context: AppContext, row: TemplateRow) -> schemas.Template:
    """A picture with what the job that looked at it says of faces that may have been missed."""
    found = schemas.Template.model_validate(row)
    if row.faces is None:
        return found
    try:
        missed = context.ledger.jobs.get(row.owner, row.job).result.get("missed", [])
    except UserError:  # jobs are forgotten before pictures are
        missed = []
    return found.model_copy(update={"missed": [schemas.FaceBox.model_validate(each) for each in missed]})


def missing_by_ability(context: AppContext) -> Mapping[str, list[str]]:
    """What is missing by ability, one sentence each; empty for an ability that a live worker has."""
    found: dict[str, list[str]] = {}
    for worker in context.ledger.workers.list_live(context.now()):
        found |= {name: list(lines) for name, lines in worker.missing.items() if found.get(name) != []}
        found |= {name: [] for name in worker.abilities}
    return found


def _style(file: StyleFile, by_ability: Mapping[str, list[str]]) -> schemas.Style:
    missing = by_ability.get(f"draw:{file.kind}", [NO_WORKER])
    return schemas.Style.model_validate({**file.model_dump(), "ready": not missing, "missing": missing})
