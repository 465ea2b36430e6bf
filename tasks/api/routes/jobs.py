"""Asking for long work, and following it."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from portrait.errors import PortraitError, UserError
from tasks import schemas
from tasks.api import serializers
from tasks.api.context import ActOnce, AnId, Cursor, Guarded, Limit, Office, TheCaller, TheOffice, made
from tasks.api.problems import documented
from tasks.api.routes import generation_options
from tasks.api.routes.styles import NOBODY, abilities
from tasks.jobs import Job, needs_of
from tasks.ledger.database import new_id
from tasks.ledger.jobs import Standing
from tasks.ledger.rows import EventRow
from tasks.queue import broker
from tasks.styles.available import Offered
from templates.schema import StyleFile

router = APIRouter(tags=["jobs"], route_class=Guarded)
ASKING = documented(401, 403, 404, 409, 410, 422, 429, 503)
SEEN = {200: {"description": "The picture.", "content": {"image/jpeg": {}}}}
POLL = 0.5
"""Seconds between two looks of a stream into the ledger."""
STANDING_EVERY = 2.0
"""Seconds between two looks at the place in the queue."""
QUIET = 15.0
"""Seconds after which a stream that has nothing to say shows that it lives."""
RETRY_AFTER = 2
"""Seconds after which to look at a job again."""


@router.post("/trainings", status_code=202, response_model=schemas.Job, responses=ASKING)
def ask_training(order: schemas.TrainingOrder, office: TheOffice, caller: TheCaller, once: ActOnce) -> Response:
    """Judge a person's photos and learn who they are; with a base, train a LoRA on it."""

    def act() -> Response:
        office.store.people.consented(caller.owner, order.person)
        photos = office.store.people.selfies(caller.owner, order.person)
        if not photos:
            raise UserError("no_photos", "This person has no photos yet. Add some first.")
        if order.base is None:
            job = _job(office, caller.owner, "prepare", {"person": order.person}, len(photos))
        else:
            job = _training(office, caller.owner, order)
        return accepted(office, office.ask(job, {"1": order.person}))

    return once(act)


@router.post("/generations", status_code=202, response_model=schemas.Job, responses=ASKING)
def ask_generation(order: schemas.GenerationOrder, office: TheOffice, caller: TheCaller, once: ActOnce) -> Response:
    """Draw portraits of one style, or in a picture of your own."""

    def act() -> Response:
        wants = {
            "identities": {place: _identity(office, caller.owner, person) for place, person in order.people.items()},
            "people": dict(order.people),
            "count": order.count,
            "seed": order.seed,
            "size": None if order.size is None else [order.size.width, order.size.height],
            "format": order.format,
            **({"technique": order.technique.model_dump(exclude_defaults=True)} if order.technique else {}),
            **({"traits": dict(order.traits)} if order.traits else {}),
        }
        for hint in order.technique.hints if order.technique else ():
            office.store.templates.get(caller.owner, hint.template)
        kind, style = _look_of(office, caller.owner, order, wants)
        needs = frozenset({f"draw:{kind}"})
        if style is not None and kind == "text":
            needs = generation_options.complete(office, caller.owner, order, style, wants)
        elif kind == "template" and _drawn_into(order, style):
            kind, needs = "inpaint", generation_options.complete_each(office, caller.owner, order, style, wants)
        elif style is not None:
            generation_options.check_traits(style, order.traits)
        job = _job(office, caller.owner, "generate", wants, order.count, needs)
        if kind in ("text", "inpaint"):
            job = replace(job, queue="gpu.generate")
        return accepted(office, office.ask(job, order.people))

    return once(act)


@router.get("/jobs", responses=documented(401, 422))
def list_jobs(
    office: TheOffice,
    caller: TheCaller,
    state: Annotated[list[schemas.State] | None, Query()] = None,
    kind: Annotated[schemas.JobKind | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> schemas.Page[schemas.Job]:
    """Your jobs, the newest first."""
    page = office.store.jobs.list(caller.owner, state or (), kind or "", cursor, limit)
    return schemas.Page(items=[told(office, job) for job in page.items], next=page.next)


@router.get("/jobs/{id}", responses=documented(401, 404, 410, 422))
def get_job(id: AnId, office: TheOffice, caller: TheCaller, response: Response) -> schemas.Job:
    """One job; `Retry-After` says when to look again, while it has not ended."""
    job = office.store.jobs.get(caller.owner, id)
    if not job.done:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return told(office, job)


@router.post("/jobs/{id}/cancel", status_code=202, responses=documented(401, 404, 409, 410, 422))
def cancel_job(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Job:
    """Stop a job: at once while it waits, within a step while it runs; 409 when it has ended."""
    return told(office, office.store.jobs.cancel(caller.owner, id, office.now()))


@router.post("/jobs/{id}/retry", status_code=202, responses=documented(401, 403, 404, 409, 410, 422, 429))
def retry_job(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Job:
    """Queue a job again that failed, was cancelled or expired."""
    job = office.store.jobs.retry(caller.owner, id, office.now(), office.allowance)
    broker.ring(office.bell, job.queue)
    return told(office, job)


@router.get("/jobs/{id}/preview", response_class=Response, responses={**SEEN, **documented(401, 404, 410, 422)})
def get_preview(id: AnId, office: TheOffice, caller: TheCaller) -> Response:
    """What a running job shows of itself; 404 while there is nothing to see."""
    place = office.files.preview(office.store.jobs.get(caller.owner, id).id)
    try:
        content = place.read_bytes()
    except FileNotFoundError as error:
        # It goes when the job ends, which may be now.
        raise UserError("not_found", "There is nothing to see of this job.") from error
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


@router.get(
    "/jobs/{id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events of `JobEvent`.", "content": {"text/event-stream": {}}},
        **documented(401, 404, 410, 422),
    },
)
async def follow_job(
    id: AnId,
    request: Request,
    office: TheOffice,
    caller: TheCaller,
    last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,18}$")] = None,
) -> Response:
    """Follow a job until it ends. `Last-Event-ID` goes on where an earlier stream stopped.

    `state` and `progress` carry an id; `standing` tells place and estimate and carries none.
    """
    await run_sync(office.store.jobs.get, caller.owner, id)
    stream = _events(office, caller.owner, id, int(last_event_id or 0), request)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def told(office: Office, job: Job) -> schemas.Job:
    """A job with its place in the queue, or with what it takes when no live worker can do it."""
    standing = office.store.jobs.standing(job, office.now())
    return serializers.job(job, standing, _takes(office, standing))


@dataclass(frozen=True, slots=True)
class _News:
    """What is new about a job."""

    job: Job
    events: Sequence[EventRow]
    standing: Mapping[str, object] | None
    """Place, estimate and what is missing; None when it was not asked for, or the job has ended."""


def _news(office: Office, owner: str, id: str, after: int, standing: bool) -> _News:
    """The job first: when it has ended, its last event is among those that are read after it."""
    job = office.store.jobs.get(owner, id)
    events = office.store.jobs.events(owner, id, after)
    if job.done or not standing:
        return _News(job, events, None)
    found = office.store.jobs.standing(job, office.now())
    left = None if found.seconds is None else round(found.seconds)
    told = {"state": job.state, "place": found.place, "seconds_left": left, "missing": _takes(office, found)}
    return _News(job, events, told)


async def _events(office: Office, owner: str, id: str, after: int, request: Request) -> AsyncIterator[bytes]:
    """Short reads, and no thread held between them."""
    quiet = since_standing = 0.0
    before: Mapping[str, object] | None = None
    while not await request.is_disconnected():
        try:
            news = await run_sync(_news, office, owner, id, after, since_standing <= 0)
        except PortraitError as error:
            if error.code == "database_unreachable":
                await anyio.sleep(POLL)  # the stream goes on where it stopped
                continue
            return  # erased: there is nothing to follow any more
        for each in news.events:
            after, quiet = each.id, 0.0
            yield format_sse_event(data_str=serializers.event(each).model_dump_json(), event=each.kind, id=str(each.id))
        if news.job.done and not news.events:
            return
        if news.standing is not None:
            since_standing = STANDING_EVERY
            if news.standing != before:
                before, quiet = news.standing, 0.0
                yield format_sse_event(data_str=json.dumps(news.standing), event="standing")
        if quiet >= QUIET:
            quiet = 0.0
            yield format_sse_event(comment="still here")
        if not news.events:
            await anyio.sleep(POLL)
            quiet += POLL
            since_standing -= POLL


def _job(
    office: Office, owner: str, kind: str, wants: dict[str, object], units: int, needs: frozenset[str] | None = None
) -> Job:
    now = office.now()
    able = needs_of(kind) if needs is None else needs
    return Job(new_id("job", now), owner, kind, "cpu", wants, now, needs=able, units=units)


def _training(office: Office, owner: str, order: schemas.TrainingOrder) -> Job:
    """A job that trains a LoRA from the newest training set; raises `bad_technique` for a base that nobody knows."""
    generation_options.check_base(office, order.base or "")
    identities = office.store.people.identities(owner, order.person)
    if not identities:
        raise UserError("not_prepared", "The photos are not judged yet. Ask for a training without a base first.")
    wants = {
        "person": order.person,
        "training_set": identities[0].training_set,
        "base": order.base,
        "steps": order.steps,
    }
    now = office.now()
    needs = frozenset({f"train:{order.base}"})
    return Job(new_id("job", now), owner, "train", "gpu.train", wants, now, needs=needs, units=order.steps or 800)


def _identity(office: Office, owner: str, person: str) -> str:
    """The newest identity of a person; raises `not_prepared`, `consent_withdrawn`."""
    row = office.store.people.consented(owner, person)
    identity = office.store.people.about([row])[person].identity
    if identity is None:
        raise UserError("not_prepared", "This person's photos are not judged yet. Ask for a training first.")
    return identity


def _look_of(
    office: Office, owner: str, order: schemas.GenerationOrder, wants: dict[str, object]
) -> tuple[str, StyleFile | None]:
    """Put style or template into what is wanted; returns the kind of style, and the style where it is one of the house.

    Raises `unknown_style`, `template_face_missing`.
    """
    style: StyleFile | None = None
    if order.template is not None:
        template = office.store.templates.get(owner, order.template)
        wants["template"] = template.id
        kind, faces = "template", None if template.faces is None else len(template.faces)
    else:
        style = Offered(office.store, office.files).find(order.style or "").style
        wants |= {"style": style.id, "version": style.version}
        if style.kind == "idphoto" and order.size is not None:
            raise UserError("bad_size", "An ID photo has the size of its rule. Leave the size out.")
        kind, faces = style.kind, style.faces
    over = [place for place in order.people if faces is not None and int(place) > faces]
    if over:
        raise UserError("template_face_missing", f"There is no face number {over[0]}: this picture has {faces}.")
    return kind, style


def _drawn_into(order: schemas.GenerationOrder, style: StyleFile | None) -> bool:
    """Whether a diffusion model draws into the template: see `PortraitRequest.way`."""
    return order.technique is not None or (style is not None and style.engines[:1] == ("diffusion",))


def _takes(office: Office, standing: Standing) -> list[str]:
    """What a job that nobody can do takes, one sentence each."""
    if not standing.missing:
        return []
    able = abilities(office)
    return list(dict.fromkeys(line for word in standing.missing for line in able.get(word) or [NOBODY]))


def accepted(office: Office, job: Job) -> Response:
    """The answer to who asked for long work: the job, and where to follow it."""
    return made(told(office, job), f"/v1/jobs/{job.id}", 202, RETRY_AFTER)
