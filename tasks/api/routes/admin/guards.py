"""Routes of operators about people whom nobody may draw: blocked faces, and whoever may be a child."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Query, Response, UploadFile
from pydantic import TypeAdapter

from pipelines import image_io
from pipelines.folders import training_sets
from pipelines.settings import Settings
from portrait import errors
from portrait.errors import EngineError, UserError
from tasks import auth, schemas
from tasks.api import admission, images
from tasks.api.context import AppContext, AuthenticatedRoute, ContextDep, OperatorDep, PagingDep, PathId, created
from tasks.api.problems import problem_responses
from tasks.ledger.database import new_id
from tasks.ledger.privacy.blocked_people import BlockedPersonRow

router = APIRouter(prefix="/operator", tags=["operator"], route_class=AuthenticatedRoute)
READER = "tasks.queue.face_reader"
READ_SECONDS = 120
"""Seconds in which a face is found in a photo: most of it is the loading of networks."""
Note = Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


@router.get("/blocked-people", responses=problem_responses(401, 403, 422))
def list_blocked_people(context: ContextDep, _: OperatorDep, paging: PagingDep) -> schemas.Page[schemas.BlockedPerson]:
    """Faces that are never drawn, the newest first."""
    page = context.ledger.blocked_people.list(paging.cursor, paging.limit)
    return schemas.Page(items=[_blocked(row) for row in page.items], next=page.next)


@router.post(
    "/blocked-people",
    status_code=201,
    response_model=schemas.BlockedPerson,
    responses=problem_responses(400, 401, 403, 413, 422, 503),
)
@admission.before_body(admission.styles)
def block_face(
    file: Annotated[UploadFile, File(description="A photo of one face.")],
    note: Note,
    context: ContextDep,
    caller: OperatorDep,
) -> Response:
    """Never draw the face of a photo. The photo is read and erased at once; its embedding is kept."""
    place = context.files.incoming / new_id("face", context.now())
    try:
        images.save_picture(context.files, file, place)
        embeddings = _read_face(context.installation.flows, place)
    finally:
        place.unlink(missing_ok=True)
    return _add(context, caller, note, embeddings)


@router.post(
    "/blocked-people/from-person",
    status_code=201,
    response_model=schemas.BlockedPerson,
    responses=problem_responses(401, 403, 404, 409, 410, 422),
)
def block_person(body: schemas.BlockRequest, context: ContextDep, caller: OperatorDep) -> Response:
    """Never draw somebody again whose photos are here; of their photos nothing more is kept than before."""
    sets = context.ledger.people.training_sets(body.owner, body.person)
    folders = [context.files.training_set(body.owner, body.person, row.id) for row in sets[:1]]
    for folder in folders:
        context.files.fetch(folder / training_sets.DESCRIPTION_FILE)
    means = [mean for folder in folders if (mean := training_sets.read_mean(folder))]
    if not means:
        raise UserError("not_prepared", "This person's photos are not judged yet. Block a photo of the face instead.")
    return _add(context, caller, body.note, {space: list(vector) for space, vector in means[0].items()})


@router.delete("/blocked-people/{id}", status_code=204, responses=problem_responses(401, 403, 404, 422))
def unblock_person(id: PathId, context: ContextDep, caller: OperatorDep) -> None:
    """Let somebody be drawn again."""
    context.ledger.blocked_people.remove(id)
    context.audit(caller, "guard.unblocked", id)


@router.get("/ages", responses=problem_responses(401, 403, 422))
def list_age_questions(context: ContextDep, _: OperatorDep, paging: PagingDep) -> schemas.Page[schemas.AgeQuestion]:
    """People for whom a parent or guardian is asked, the newest first; without names and photos."""
    closed = context.installation.flows.guards_closed
    if not context.installation.flows.guards.age:
        return schemas.Page(items=[])
    page = context.ledger.ages.list(closed, paging.cursor, paging.limit)
    waiting = context.guards.waiting([row.id for row in page.items])
    items = [
        schemas.AgeQuestion.model_validate(
            {"owner": row.owner, "person": row.id, "created": row.created, "waiting": row.id in waiting}
        )
        for row in page.items
    ]
    return schemas.Page(items=items, next=page.next)


@router.put("/ages/{id}/adult", status_code=204, responses=problem_responses(401, 403, 404, 422))
def settle_age(id: PathId, context: ContextDep, caller: OperatorDep) -> None:
    """Note that the person with this id is an adult, as the operator made sure: nobody else is asked any more."""
    context.ledger.ages.settle(id, context.now())
    context.audit(caller, "guard.adult", id)


def _add(context: AppContext, caller: auth.Caller, note: str, embeddings: dict[str, list[float]]) -> Response:
    now = context.now()
    row = BlockedPersonRow(new_id("blocked", now), note.strip(), caller.actor, now, embeddings)
    context.ledger.blocked_people.add(row)
    context.audit(caller, "guard.blocked", row.id)
    return created(_blocked(row), f"/v1/operator/blocked-people/{row.id}")


def _blocked(row: BlockedPersonRow) -> schemas.BlockedPerson:
    fields = {name: getattr(row, name) for name in ("id", "note", "added", "added_by")}
    return schemas.BlockedPerson.model_validate({**fields, "spaces": sorted(row.embeddings)})


def _read_face(settings: Settings, place: Path) -> dict[str, list[float]]:
    """The embedding of the one face in a photo; raises what reading it raises, `EngineError` (`unexpected`)."""
    image_io.probe(place)
    order = {"settings": TypeAdapter(Settings).dump_python(settings, mode="json"), "path": str(place.absolute())}
    try:
        found = subprocess.run(  # noqa: S603 -- our own module
            [sys.executable, "-m", READER],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=READ_SECONDS,
            check=True,
        )
        answer = json.loads(found.stdout.strip().rpartition("\n")[2])
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise EngineError("unexpected", "The face of the photo could not be read. Try another photo.") from error
    if "code" in answer:
        raise getattr(errors, answer["branch"])(answer["code"], answer["message"])
    return answer["embeddings"]
