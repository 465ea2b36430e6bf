"""What portraits can look like: the styles of the house, and pictures that people bring."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, File, Response, UploadFile

from portrait.errors import OperatorError, UserError
from tasks import schemas
from tasks.api import images, serializers
from tasks.api.context import AnId, Cursor, Guarded, Limit, Office, TheCaller, TheOffice, made
from tasks.api.images import Side
from tasks.api.problems import documented
from tasks.api.routes.selfies import PICTURE
from tasks.jobs import Job, needs_of
from tasks.ledger.database import new_id
from tasks.ledger.rows import TemplateRow
from tasks.styles.available import Offered
from templates.hashes import PREVIEW
from templates.schema import StyleFile

router = APIRouter(tags=["styles"], route_class=Guarded)
NOBODY = "No worker for it is running. An operator can start one."


@router.get("/styles", responses=documented(401))
def list_styles(office: TheOffice, _: TheCaller) -> schemas.Page[schemas.Style]:
    """What portraits can look like here."""
    able = abilities(office)
    return schemas.Page(items=[_style(entry.style, able) for entry in _offered(office).entries()], next=None)


@router.get("/styles/{id}", responses=documented(401, 404, 422))
def get_style(id: AnId, office: TheOffice, _: TheCaller) -> schemas.Style:
    """One style."""
    return _style(_offered(office).find(id).style, abilities(office))


@router.get("/styles/{id}/preview", response_class=Response, responses={**PICTURE, **documented(401, 404, 422)})
def get_style_preview(id: AnId, office: TheOffice, _: TheCaller, side: Side = None) -> Response:
    """What a style looks like."""
    entry = _offered(office).find(id)
    preview = entry.folder / PREVIEW
    picture = None if preview.is_file() else entry.picture()
    return images.send(office.reduced, picture or preview, "image/jpeg", side or 1024)


@router.post(
    "/templates",
    status_code=201,
    response_model=schemas.Template,
    responses=documented(400, 401, 409, 413, 422, 429, 503),
)
def add_template(
    file: Annotated[UploadFile, File(description="A picture with at least one face.")],
    office: TheOffice,
    caller: TheCaller,
) -> Response:
    """Bring a picture that people can be put into. A job looks for its faces; then they have numbers."""
    now = office.now()
    id, job = new_id("template", now), new_id("job", now)
    place = office.files.template(caller.owner, id)
    saved, header = images.take(office.files, file, place)
    size = header.size
    name = images.name_of(file)
    row = TemplateRow(id, caller.owner, name, saved.bytes, size.width, size.height, header.format, job, now)
    kept: TemplateRow | None = None
    try:
        kept = office.store.templates.add(row, office.tasks.quotas.templates)
        office.ask(Job(job, caller.owner, "look", "cpu", {"template": id}, now, needs=needs_of("look")))
    except (UserError, OperatorError):
        place.unlink(missing_ok=True)
        if kept is not None:
            office.store.templates.delete(caller.owner, id, now)
        raise
    return made(serializers.template(row), f"/v1/templates/{id}")


@router.get("/templates", responses=documented(401, 422))
def list_templates(
    office: TheOffice, caller: TheCaller, cursor: Cursor = None, limit: Limit = 50
) -> schemas.Page[schemas.Template]:
    """Your own pictures, the newest first."""
    page = office.store.templates.list(caller.owner, cursor, limit)
    return schemas.Page(items=[serializers.template(row) for row in page.items], next=page.next)


@router.get("/templates/{id}", responses=documented(401, 404, 410, 422))
def get_template(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Template:
    """One picture with its faces, numbered from the left."""
    return serializers.template(office.store.templates.get(caller.owner, id))


@router.get("/templates/{id}/file", response_class=Response, responses={**PICTURE, **documented(401, 404, 410, 422)})
def get_template_file(id: AnId, office: TheOffice, caller: TheCaller, side: Side = None) -> Response:
    """The picture as it came, or small and upright."""
    row = office.store.templates.get(caller.owner, id)
    path = office.files.template(caller.owner, id)
    return images.send(office.reduced, path, images.MEDIA.get(row.format, "application/octet-stream"), side)


@router.delete("/templates/{id}", status_code=204, responses=documented(401, 404, 410, 422))
def delete_template(id: AnId, office: TheOffice, caller: TheCaller) -> None:
    """Forget a picture; portraits that were made in it stay."""
    office.store.templates.delete(caller.owner, id, office.now())
    office.files.erase_file(office.files.template(caller.owner, id))


def abilities(office: Office) -> Mapping[str, list[str]]:
    """By ability: what it takes; empty for one that a live worker has."""
    found: dict[str, list[str]] = {}
    for worker in office.store.staff.live(office.now()):
        found |= {name: list(lines) for name, lines in worker.missing.items() if found.get(name) != []}
        found |= {name: [] for name in worker.abilities}
    return found


def _offered(office: Office) -> Offered:
    return Offered(office.store, office.files)


def _style(file: StyleFile, able: Mapping[str, list[str]]) -> schemas.Style:
    missing = able.get(f"draw:{file.kind}", [NOBODY])
    return schemas.Style(
        id=file.id,
        version=file.version,
        kind=file.kind,
        title=file.title,
        titles=dict(file.titles),
        tags=list(file.tags),
        faces=file.faces,
        families=list(file.families),
        licence=file.licence,
        credit=file.credit,
        ready=not missing,
        missing=missing,
    )
