"""Routes of jobs: create trainings and generations, list, cancel, retry, preview, stream of events."""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from portrait.errors import PortraitError, UserError
from tasks import auth, schemas
from tasks.api import serializers
from tasks.api.context import (
    AppContext,
    AuthenticatedRoute,
    CallerDep,
    ContextDep,
    IdempotencyDep,
    PagingDep,
    PathId,
    created,
)
from tasks.api.problems import problem_responses
from tasks.api.routes import generation_options, idphotos
from tasks.api.routes.styles import NO_WORKER, missing_by_ability
from tasks.jobs import Job, required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.jobs import QueueStatus
from tasks.ledger.rows import EventRow
from tasks.queue import broker
from templates.schema import StyleFile

router = APIRouter(tags=["jobs"], route_class=AuthenticatedRoute)
JOB_PROBLEMS = problem_responses(401, 403, 404, 409, 410, 422, 429, 503)
PREVIEW_RESPONSES = {200: {"description": "The picture.", "content": {"image/jpeg": {}}}}
POLL_SECONDS = 0.5
"""Seconds between two reads of the ledger by a stream of events."""
STANDING_SECONDS = 2.0
"""Seconds between two reads of the place in the queue."""
KEY_SECONDS = 5.0
"""Seconds between two looks whether the caller's key or session still holds."""
KEEPALIVE_SECONDS = 15.0
"""Seconds without an event after which a stream sends a comment that keeps the connection open."""
RETRY_AFTER = 2
"""Seconds after which to poll a job again."""


@router.post("/trainings", status_code=202, response_model=schemas.Job, responses=JOB_PROBLEMS)
def create_training(
    body: schemas.TrainingRequest, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep
) -> Response:
    """Queue a training: judge a person's photos or, with a base, train a LoRA on it."""

    def enqueue() -> Response:
        context.ledger.people.require_consent(caller.owner, body.person)
        photos = context.ledger.people.selfies(caller.owner, body.person)
        if not photos:
            raise UserError("no_photos", "This person has no photos yet. Add some first.")
        if body.base is None:
            needs = required_abilities("prepare")
            job = _new_job(context, caller.owner, "prepare", {"person": body.person}, len(photos), needs)
        else:
            job = _training_job(context, caller.owner, body)
        return accepted(context, context.enqueue(job, {"1": body.person}))

    return idempotency.run(enqueue)


@router.post("/generations", status_code=202, response_model=schemas.Job, responses=JOB_PROBLEMS)
def create_generation(
    body: schemas.GenerationRequest, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep
) -> Response:
    """Queue portraits of one style, or in an uploaded picture."""

    def enqueue() -> Response:
        identities = {place: _newest_identity(context, caller.owner, person) for place, person in body.people.items()}
        params = {
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
        }
        for control in body.technique.hints if body.technique else ():
            context.ledger.templates.get(caller.owner, control.template)
        kind, style = _resolve_style(context, caller.owner, body, params)
        needs = frozenset({f"draw:{kind}"})
        if style is not None and kind == "text":
            needs = generation_options.complete(context, caller.owner, body, style, params)
        elif kind == "template" and _uses_diffusion(body, style):
            kind, needs = "inpaint", generation_options.complete_each(context, caller.owner, body, style, params)
        elif style is not None:
            generation_options.check_traits(style, body.traits)
        job = _new_job(context, caller.owner, "generate", params, body.count, needs)
        if kind in ("text", "inpaint"):
            job = replace(job, queue="gpu.generate")
        return accepted(context, context.enqueue(job, body.people))

    return idempotency.run(enqueue)


@router.get("/jobs", responses=problem_responses(401, 422))
def list_jobs(
    context: ContextDep,
    caller: CallerDep,
    paging: PagingDep,
    state: Annotated[list[schemas.State] | None, Query()] = None,
    kind: schemas.JobKind | None = None,
) -> schemas.Page[schemas.Job]:
    """The caller's jobs, the newest first."""
    page = context.ledger.jobs.list(caller.owner, state or (), kind or "", paging.cursor, paging.limit)
    return schemas.Page(items=[job_response(context, job) for job in page.items], next=page.next)


@router.get("/jobs/{id}", responses=problem_responses(401, 404, 410, 422))
def get_job(id: PathId, context: ContextDep, caller: CallerDep, response: Response) -> schemas.Job:
    """One job; `Retry-After` says when to poll again, while it has not ended."""
    job = context.ledger.jobs.get(caller.owner, id)
    if not job.done:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return job_response(context, job)


@router.post("/jobs/{id}/cancel", status_code=202, responses=problem_responses(401, 404, 409, 410, 422))
def cancel_job(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Job:
    """Cancel a job: at once while it waits, within a step while it runs; 409 when it has ended."""
    return job_response(context, context.ledger.jobs.cancel(caller.owner, id, context.now()))


@router.post("/jobs/{id}/retry", status_code=202, responses=problem_responses(401, 403, 404, 409, 410, 422, 429))
def retry_job(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Job:
    """Queue a job again that failed, was cancelled or expired."""
    job = context.ledger.jobs.retry(caller.owner, id, context.now(), context.allowance)
    broker.notify(context.celery, job.queue)
    return job_response(context, job)


@router.get(
    "/jobs/{id}/preview",
    response_class=Response,
    responses={**PREVIEW_RESPONSES, **problem_responses(401, 404, 410, 422)},
)
def get_job_preview(id: PathId, context: ContextDep, caller: CallerDep) -> Response:
    """The newest preview picture of a running job; 404 while there is none, and as soon as the job is to stop."""
    job = context.ledger.jobs.get(caller.owner, id)
    try:
        # It is deleted when the job ends, which may be now.
        content = None if job.state in {"cancelling", "cancelled"} else context.files.preview(job.id).read_bytes()
    except FileNotFoundError:
        content = None
    if content is None:
        raise UserError("not_found", "There is nothing to see of this job.")
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


@router.get(
    "/jobs/{id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events of `JobEvent`.", "content": {"text/event-stream": {}}},
        **problem_responses(401, 404, 410, 422),
    },
)
async def stream_job_events(
    id: PathId,
    request: Request,
    context: ContextDep,
    caller: CallerDep,
    last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,18}$")] = None,
) -> Response:
    """Stream the events of a job until it ends, or the caller's key or session does. `Last-Event-ID` resumes.

    `state` and `progress` events have an id; `standing` events, with place and estimate, have none.
    """
    await run_sync(context.ledger.jobs.get, caller.owner, id)
    stream = _events(context, caller.owner, id, int(last_event_id or 0), request)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def job_response(context: AppContext, job: Job) -> schemas.Job:
    """A job with its place in the queue, or with what is missing when no live worker can do it."""
    status = context.ledger.jobs.queue_status(job, context.now())
    return serializers.serialize_job(job, status, _missing(context, status))


@dataclass(frozen=True, slots=True)
class _Update:
    """What has changed of a job since the last read."""

    job: Job
    events: Sequence[EventRow]
    standing: Mapping[str, object] | None
    """Data of a `standing` event: place, estimate and what is missing; None when not read, or the job has ended."""


def _read_update(
    context: AppContext, check: Callable[[], None], owner: str, id: str, after: int, standing: bool
) -> _Update:
    """Check the caller, and read what has changed.

    The job is read first: when it has ended, its last event is among those read after it.
    """
    check()
    job = context.ledger.jobs.get(owner, id)
    events = context.ledger.jobs.events(owner, id, after)
    if job.done or not standing:
        return _Update(job, events, None)
    status = context.ledger.jobs.queue_status(job, context.now())
    seconds = None if status.seconds is None else round(status.seconds)
    missing = _missing(context, status)
    place = {"state": job.state, "place": status.place, "seconds_left": seconds, "missing": missing}
    return _Update(job, events, place)


@dataclass(slots=True)
class _Key:
    """The key or session of a stream, looked up again now and then."""

    context: AppContext
    authorization: str
    checked: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raise `UserError` (`unauthenticated`) when it has ended."""
        if time.monotonic() - self.checked > KEY_SECONDS:
            auth.authenticate(self.context.ledger, self.authorization, self.context.now(), idle=True)
            self.checked = time.monotonic()


async def _events(context: AppContext, owner: str, id: str, after: int, request: Request) -> AsyncIterator[bytes]:
    """Server-sent events of a job; the ledger is read in short calls, with no thread held between them."""
    idle = since_standing = 0.0
    key = _Key(context, request.headers.get("authorization", ""))
    before: Mapping[str, object] | None = None
    while not await request.is_disconnected():
        try:
            update = await run_sync(_read_update, context, key.check, owner, id, after, since_standing <= 0)
        except PortraitError as error:
            if error.code == "database_unreachable":
                await anyio.sleep(POLL_SECONDS)  # the next read resumes after the last event
                continue
            return  # the job was erased, or the key was revoked
        for each in update.events:
            after, idle = each.id, 0.0
            data = serializers.serialize_event(each).model_dump_json()
            yield format_sse_event(data_str=data, event=each.kind, id=str(each.id))
        if update.job.done and not update.events:
            return
        if update.standing is not None:
            since_standing = STANDING_SECONDS
            if update.standing != before:
                before, idle = update.standing, 0.0
                yield format_sse_event(data_str=json.dumps(update.standing), event="standing")
        if idle >= KEEPALIVE_SECONDS:
            idle = 0.0
            yield format_sse_event(comment="still here")
        if not update.events:
            await anyio.sleep(POLL_SECONDS)
            idle += POLL_SECONDS
            since_standing -= POLL_SECONDS


def _new_job(
    context: AppContext, owner: str, kind: str, params: dict[str, object], units: int, needs: frozenset[str]
) -> Job:
    now = context.now()
    return Job(new_id("job", now), owner, kind, "cpu", params, now, needs=needs, units=units)


def _training_job(context: AppContext, owner: str, body: schemas.TrainingRequest) -> Job:
    """A job that trains a LoRA from the newest training set; raises `bad_technique` for an unknown base."""
    generation_options.check_base(context, body.base or "")
    identities = context.ledger.people.identities(owner, body.person)
    if not identities:
        raise UserError("not_prepared", "The photos are not judged yet. Ask for a training without a base first.")
    trained = {"person": body.person, "training_set": identities[0].training_set}
    params = {**trained, "base": body.base, "steps": body.steps}
    needs = required_abilities("train", base=body.base or "")
    return replace(_new_job(context, owner, "train", params, body.steps or 800, needs), queue="gpu.train")


def _newest_identity(context: AppContext, owner: str, person: str) -> str:
    """The newest identity of a person; raises `not_prepared`, `consent_withdrawn`."""
    row = context.ledger.people.require_consent(owner, person)
    identity = context.ledger.people.summarize([row])[person].identity
    if identity is None:
        raise UserError("not_prepared", "This person's photos are not judged yet. Ask for a training first.")
    return identity


def _resolve_style(
    context: AppContext, owner: str, body: schemas.GenerationRequest, params: dict[str, object]
) -> tuple[str, StyleFile | None]:
    """Add style or template to the parameters; returns the kind of style, and the style where there is one.

    Raises `unknown_style`, `template_face_missing`.
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


def _missing(context: AppContext, status: QueueStatus) -> list[str]:
    """What is missing for a job that no live worker can do, one sentence each."""
    if not status.missing:
        return []
    lines = missing_by_ability(context)
    return list(dict.fromkeys(line for word in status.missing for line in lines.get(word) or [NO_WORKER]))


def accepted(context: AppContext, job: Job) -> Response:
    """The 202 response to a new job: the job, its `Location`, and when to poll it."""
    return created(job_response(context, job), f"/v1/jobs/{job.id}", 202, RETRY_AFTER)
