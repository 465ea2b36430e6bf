"""Routes of what a portrait was made from: a photo, a picture that people were put into, or the portrait that was edited."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response

from pipelines.folders import training_sets
from portrait.errors import OperatorError, UserError
from tasks import schemas
from tasks.api import images
from tasks.api.context import AppContext, AuthenticatedRoute, CallerDep, ContextDep, PathId
from tasks.api.images import Side
from tasks.api.problems import problem_responses
from tasks.jobs import Job
from tasks.ledger.rows import PortraitRow, SelfieRow

router = APIRouter(prefix="/portraits", tags=["portraits"], route_class=AuthenticatedRoute)
MAX_ASPECT_DIFFERENCE = 0.02
"""By how much of it the aspect ratio of a stored photo may differ from that of the picture in which its eyes were measured,
where it is not known where they are in the stored one: what was turned or cut does not lie over the portrait then."""


@router.get("/{id}/before", responses=problem_responses(401, 404, 410, 422))
def get_before(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Before:
    """What the portrait was made from, and where the eyes are in both; `not_found` where nothing of it is left."""
    row = context.ledger.portraits.get(caller.owner, id)
    return _before(context, row, context.ledger.jobs.get(caller.owner, row.job))


@router.get("/{id}/before/file", **images.picture_route(401, 404, 410, 422))
def get_before_file(id: PathId, context: ContextDep, caller: CallerDep, side: Side = None) -> Response:
    """The picture that the portrait was made from, or an upright JPEG of it of at most `side` pixels."""
    row = context.ledger.portraits.get(caller.owner, id)
    before = _before(context, row, context.ledger.jobs.get(caller.owner, row.job))
    path, media = _picture(context, row, before)
    return images.picture_response(context.thumbnails, path, media, side)


def _before(context: AppContext, row: PortraitRow, job: Job) -> schemas.Before:
    """What the portrait was made from; raises `UserError` (`not_found`) where nothing of it is left."""
    faces = [_face(context, row, job, place) for place in _places(job)]
    measured = _measured(row, str(faces[0].face)) if faces else {}
    found = {"portrait_eyes": measured.get("portrait"), "faces": faces}
    edited = _edited(context, row, job)
    if edited is not None:
        return schemas.Before.model_validate(
            {**found, "kind": "portrait", "id": edited.id, "eyes": _portrait_eyes(edited)}
        )
    if dict(row.recipe.get("style", {})).get("kind") == "template" or row.style.startswith("template_"):
        kind = "template" if row.style.startswith("template_") else "style"
        before = schemas.Before.model_validate(
            {**found, "kind": kind, "id": row.style, "eyes": measured.get("template")}
        )
        with suppress(UserError, OperatorError):
            _picture(context, row, before)
            return before
    first = next((face for face in faces if face.selfie), None)
    if first is None:
        raise UserError("not_found", "What this portrait was made from is not there any more.")
    eyes = {"eyes": first.eyes, "portrait_eyes": first.portrait_eyes}
    return schemas.Before.model_validate({**found, **eyes, "kind": "selfie", "id": first.selfie})


def _picture(context: AppContext, row: PortraitRow, before: schemas.Before) -> tuple[Path, str]:
    """The file of a picture that a portrait was made from, and its media type; raises `UserError` where it is not there."""
    owner = row.owner
    if before.kind == "portrait":
        edited = context.ledger.portraits.get(owner, before.id)
        return context.files.fetch(context.files.portrait(owner, edited.job, edited.file)), images.SUFFIX_MEDIA_TYPES[
            edited.format
        ]
    if before.kind == "template":
        template = context.ledger.templates.get(owner, before.id)
        return context.files.fetch(context.files.template(owner, template.id)), images.media_type(template.format)
    if before.kind == "style":
        picture = context.styles.find(before.id, row.style_version).picture()
        if picture is None:
            raise UserError("not_found", "The style has no picture.")
        return picture, images.SUFFIX_MEDIA_TYPES.get(picture.suffix.removeprefix("."), "image/jpeg")
    selfie = context.ledger.people.selfie(owner, before.id)
    return context.files.fetch(context.files.selfie(owner, selfie.person, selfie.id)), images.media_type(selfie.format)


def _face(context: AppContext, row: PortraitRow, job: Job, place: str) -> schemas.FaceBefore:
    """One face of a portrait with its photo, where that is known and still there."""
    selfie, measured = _selfie(context, row, job, place), _measured(row, place)
    people = dict(job.params.get("people", {}))
    return schemas.FaceBefore.model_validate(
        {
            "face": int(place),
            "person": str(people.get(place, "")),
            "selfie": "" if selfie is None else selfie.id,
            "eyes": None if selfie is None else _selfie_eyes(selfie, measured),
            "portrait_eyes": measured.get("portrait"),
        }
    )


def _selfie(context: AppContext, row: PortraitRow, job: Job, place: str) -> SelfieRow | None:
    """The photo that a face was drawn from. Where the portrait does not say it: the best of the set that it was drawn of."""
    names = [str(dict(row.recipe["photos"]).get(place, ""))] if "photos" in row.recipe else []
    if not names:
        identity = str(dict(job.params.get("identities", {})).get(place, ""))
        with suppress(UserError):
            found = context.ledger.people.identity(row.owner, identity)
            folder = context.files.training_set(row.owner, found.person, found.training_set)
            context.files.fetch(folder / training_sets.DESCRIPTION_FILE)
            names = training_sets.read_reference_names(folder)[:1]
    with suppress(UserError):
        return context.ledger.people.selfie(row.owner, names[0]) if names else None
    return None


def _selfie_eyes(selfie: SelfieRow, measured: Mapping[str, Any]) -> list[float] | None:
    """Where the person's eyes are in a photo as it is stored, turned or with several people on it; None where not known."""
    if selfie.uses.get("eyes"):
        return [float(each) for each in selfie.uses["eyes"]]
    return measured.get("photo") if _is_same_shape(selfie, measured) else None


def _is_same_shape(selfie: SelfieRow, measured: Mapping[str, Any]) -> bool:
    """Whether the photo was drawn from as it is: neither turned, nor a part of it that shows one person of several."""
    if selfie.face is not None:
        return False
    aspect = float(measured.get("photo_aspect", 0.0))
    return abs(selfie.width / selfie.height - aspect) <= MAX_ASPECT_DIFFERENCE * aspect


def _edited(context: AppContext, row: PortraitRow, job: Job) -> PortraitRow | None:
    """The portrait that this one is an edit of; None for others, and where it is not there any more."""
    edit = dict(job.params.get("edit") or {})
    with suppress(UserError):
        return context.ledger.portraits.get(row.owner, str(edit["portrait"])) if edit.get("portrait") else None
    return None


def _portrait_eyes(row: PortraitRow) -> list[float] | None:
    return next((_measured(row, place).get("portrait") for place in sorted(row.likeness, key=int)), None)


def _places(job: Job) -> list[str]:
    """The numbers of the faces of a job's portraits, as text, in their order."""
    return sorted(dict(job.params.get("people", {})), key=int)


def _measured(row: PortraitRow, place: str) -> Mapping[str, Any]:
    """Where the eyes of a face are, as it was measured when it was drawn; empty for portraits that were drawn before."""
    eyes: Mapping[str, Any] = dict(row.recipe.get("drawn", {})).get("eyes", {})
    return eyes.get(place, {})
