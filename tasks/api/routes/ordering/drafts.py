"""Requests for work as jobs that are not placed yet: everything that can be refused is refused here, and nothing is written."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from portrait.errors import UserError
from tasks import schemas
from tasks.api.context import AppContext
from tasks.api.routes import idphotos
from tasks.api.routes.ordering import generation_options
from tasks.jobs import Job, required_abilities
from tasks.ledger.database import new_id
from tasks.styles.terms import check_terms
from templates.schema import StyleFile


@dataclass(frozen=True, slots=True)
class Draft:
    """A job that may be placed."""

    job: Job
    people: Mapping[str, str]
    """Ids of the people in it, by number of the face."""


def draft_training(context: AppContext, owner: str, body: schemas.TrainingRequest) -> Draft:
    """The job of a training.

    Raises `UserError`: `not_found`, `consent_…`, `no_photos`, `not_prepared`, `bad_technique`.
    """
    context.ledger.people.require_consent(owner, body.person)
    photos = context.ledger.people.selfies(owner, body.person)
    if not photos:
        raise UserError("no_photos", "This person has no photos yet. Add some first.")
    if body.base is None:
        needs = required_abilities("prepare")
        job = _new_job(context, owner, "prepare", {"person": body.person}, len(photos), needs)
    else:
        job = _lora_training(context, owner, body)
    return Draft(job, {"1": body.person})


def draft_generation(context: AppContext, owner: str, body: schemas.GenerationRequest) -> Draft:
    """The job of a generation, with the newest identity of each person and what the installation chooses.

    Raises `UserError`: `not_found`, `consent_…`, `not_prepared`, `unknown_style`, `template_face_missing`, `bad_size`,
    `statement_missing`, and what `JobGuards`, `generation_options` and the rules of ID photos raise.
    """
    identities = {place: newest_identity(context, owner, person) for place, person in body.people.items()}
    params: dict[str, Any] = {
        "identities": identities,
        "people": dict(body.people),
        "count": body.count,
        "seed": body.seed,
        "size": None if body.size is None else [body.size.width, body.size.height],
        "format": body.format,
        **({"technique": body.technique.model_dump(exclude_defaults=True)} if body.technique else {}),
        **({"traits": dict(body.traits)} if body.traits else {}),
        **({"skin": body.skin} if body.skin else {}),
        **({"idphoto": idphotos.spec_params(body.idphoto)} if body.idphoto else {}),
        **({"photo": _own_photo(context, owner, body)} if body.idphoto and body.idphoto.photo else {}),
    }
    for id in _followed_pictures(body.technique):
        context.ledger.templates.get(owner, id)
    kind, style = _resolve_style(context, owner, body, params)
    needs = frozenset({f"draw:{kind}"})
    if style is not None and kind == "text":
        needs = generation_options.complete(context, owner, body, style, params)
    elif kind == "template" and _uses_diffusion(body, style):
        kind, needs = "inpaint", generation_options.complete_each(context, owner, body, style, params)
    elif style is not None:
        generation_options.check_traits(style, body.traits)
    if kind in ("text", "inpaint") and len(body.people) == 1:
        said = {**_traits(context, owner, next(iter(body.people.values()))), **body.traits}
        params |= {"traits": said} if said else {}
    job = _new_job(context, owner, "generate", params, body.count, needs)
    if kind in ("text", "inpaint"):
        job = replace(job, queue="gpu.generate")
    context.require_statements(job)
    context.guards.check(job)
    return Draft(job, body.people)


def _own_photo(context: AppContext, owner: str, body: schemas.GenerationRequest) -> str:
    """The photo that an ID photo is to be made of; raises `not_found` where it is not one of the person's."""
    wanted = str(body.idphoto and body.idphoto.photo)
    photo = context.ledger.people.selfie(owner, wanted)
    if photo.person != body.people.get("1"):
        raise UserError("not_found", f"This person has no photo with the id {wanted!r}.")
    return photo.id


def _followed_pictures(options: schemas.GenerationOptions | None) -> list[str]:
    """Ids of the uploaded pictures that a drawing follows, and of the one whose look it has."""
    if options is None:
        return []
    return [*(control.template for control in options.hints), *([options.look.template] if options.look else [])]


def _new_job(
    context: AppContext, owner: str, kind: str, params: dict[str, Any], units: int, needs: frozenset[str]
) -> Job:
    now = context.now()
    return Job(new_id("job", now), owner, kind, "cpu", params, now, needs=needs, units=units)


def _lora_training(context: AppContext, owner: str, body: schemas.TrainingRequest) -> Job:
    """A job that trains a LoRA from the newest training set; raises `bad_technique` for an unknown base."""
    generation_options.check_base(context, body.base or "")
    generation_options.check_training_terms(context, body.base or "")
    identities, said = context.ledger.people.identities(owner, body.person), _traits(context, owner, body.person)
    if not identities:
        raise UserError("not_prepared", "The photos are not judged yet. Ask for a training without a base first.")
    trained = {"person": body.person, "training_set": identities[0].training_set, **({"traits": said} if said else {})}
    params = {**trained, "base": body.base, "steps": body.steps}
    needs = required_abilities("train", base=body.base or "")
    return replace(_new_job(context, owner, "train", params, body.steps or 800, needs), queue="gpu.train")


def _traits(context: AppContext, owner: str, person: str) -> dict[str, str]:
    """What a person chose to say of themselves, by trait."""
    return dict(context.ledger.people.get(owner, person).traits)


def newest_identity(context: AppContext, owner: str, person: str) -> str:
    """The newest identity of a person; raises `not_prepared`, `consent_withdrawn`."""
    identity = context.ledger.people.newest_identity(owner, person)
    if identity is None:
        raise UserError("not_prepared", "This person's photos are not judged yet. Ask for a training first.")
    return identity


def _resolve_style(
    context: AppContext, owner: str, body: schemas.GenerationRequest, params: dict[str, Any]
) -> tuple[str, StyleFile | None]:
    """Add style or template to the parameters; returns the kind of style, and the style where there is one.

    Raises `unknown_style`, `licence_refused`, `template_face_missing`.
    """
    style: StyleFile | None = None
    if body.template is not None:
        template = context.ledger.templates.get(owner, body.template)
        params["template"] = template.id
        if body.places:
            size = template.width, template.height
            params["places"] = {number: [at.x * size[0], at.y * size[1]] for number, at in body.places.items()}
        kind, faces = "template", None if template.faces is None else len(template.faces)
    else:
        style = context.styles.find(body.style or "").style
        check_terms(style, context.installation.flows)
        params |= {"style": style.id, "version": style.version}
        if style.kind == "idphoto" and body.size is not None:
            raise UserError("bad_size", "An ID photo has the size of its rule. Leave the size out.")
        if body.idphoto is not None:
            idphotos.check_spec(body.idphoto, style)
        kind, faces = style.kind, style.faces
    numbered = [place for place in body.people if place not in body.places]
    over = [place for place in numbered if faces is not None and int(place) > faces]
    if over:
        raise UserError("template_face_missing", f"There is no face number {over[0]}: this picture has {faces}.")
    return kind, style


def _uses_diffusion(body: schemas.GenerationRequest, style: StyleFile | None) -> bool:
    """Whether a diffusion model draws into the template: see `PortraitRequest.mode`."""
    return body.technique is not None or (style is not None and style.engines[:1] == ("diffusion",))
