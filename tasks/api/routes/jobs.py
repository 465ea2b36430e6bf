"""Routes of jobs: list, cancel, retry, note how they ended, preview, stream of events."""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

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
    PagingDep,
    PathId,
    created,
    from_parameters,
)
from tasks.api.problems import problem_responses
from tasks.api.routes.styles import NO_WORKER, missing_by_ability
from tasks.jobs import Job
from tasks.ledger.jobs import JobFilter, QueueStatus
from tasks.ledger.rows import EventRow
from tasks.queue import broker

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
MISSED_BEATS = 2.5
"""Intervals without a worker's heartbeat after which no time is told for its job."""
RETRY_AFTER = 2
"""Seconds after which to poll a job again."""


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs are asked for."""

    state: Annotated[list[schemas.State] | None, Query()] = None
    kind: schemas.JobKind | None = None
    order: Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{0,64}$", description="Jobs that were placed together.")] = ""
    seen: Annotated[bool | None, Query(description="Whether it was noted how they ended.")] = None
    person: Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{0,64}$", description="Jobs about one person.")] = ""

    def as_filter(self) -> JobFilter:
        """The conditions for the ledger."""
        return JobFilter(self.state or (), self.kind or "", self.order, self.seen, self.person)


FilterDep: TypeAlias = Annotated[JobQuery, from_parameters(JobQuery)]


@router.get("/jobs", responses=problem_responses(401, 422))
def list_jobs(
    context: ContextDep,
    caller: CallerDep,
    paging: PagingDep,
    wanted: FilterDep,
) -> schemas.Page[schemas.Job]:
    """The caller's jobs, the newest first."""
    page = context.ledger.jobs.list(caller.owner, wanted.as_filter(), paging.cursor, paging.limit)
    return schemas.Page(items=job_responses(context, page.items), next=page.next)


@router.post("/jobs/seen", responses=problem_responses(401, 422))
def mark_ended(body: schemas.JobIds, context: ContextDep, caller: CallerDep) -> schemas.JobCount:
    """Note that the caller has seen how these jobs ended. Those that have not ended are left; so are ids of nobody's."""
    return schemas.JobCount(jobs=context.ledger.jobs.mark_seen(caller.owner, body.jobs, context.now()))


@router.post("/jobs/{id}/seen", responses=problem_responses(401, 404, 409, 410, 422))
def mark_seen(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Job:
    """Note that the caller has seen how a job ended; 409 while it has not."""
    job = context.ledger.jobs.get(caller.owner, id)
    if not job.done:
        raise UserError("bad_transition", f"A job that is {job.state} has not ended.", {"state": job.state})
    context.ledger.jobs.mark_seen(caller.owner, [id], context.now())
    return job_response(context, context.ledger.jobs.get(caller.owner, id))


@router.get("/jobs/{id}", responses=problem_responses(401, 404, 410, 422))
def get_job(id: PathId, context: ContextDep, caller: CallerDep, response: Response) -> schemas.Job:
    """One job; `Retry-After` says when to poll again, while it has not ended."""
    job, status = context.ledger.jobs.get_with_status(caller.owner, id, context.now(), _silent_seconds(context))
    if not job.done:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return _with_status(context, [job], {id: status})[0]


@router.post("/jobs/{id}/cancel", status_code=202, responses=problem_responses(401, 404, 409, 410, 422))
def cancel_job(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Job:
    """Cancel a job: at once while it waits, within a step while it runs; 409 when it has ended.

    The portraits that it has finished are kept: they are in `result` when it is `cancelled`.
    """
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
    # It is deleted when the job ends, which may be now.
    content = None if job.state in {"cancelling", "cancelled"} else context.files.read(context.files.preview(job.id))
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

    `state` and `progress` events have an id and say what happened; they are stored and sent again as they were, with place and
    estimate null. `standing` events have no id and say how it is now: place, estimate, portraits so far and, where no live
    worker can do the job, what is `missing`. A job that nobody can do waits, and its stream goes on, for up to three days.
    """
    await run_sync(context.ledger.jobs.get, caller.owner, id)
    stream = _events(context, caller.owner, id, int(last_event_id or 0), request)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def job_response(context: AppContext, job: Job) -> schemas.Job:
    """A job with its place in the queue, or with what is missing when no live worker can do it."""
    return job_responses(context, [job])[0]


def job_responses(context: AppContext, jobs: Sequence[Job]) -> list[schemas.Job]:
    """Several jobs as `job_response` gives each."""
    return _with_status(
        context, jobs, context.ledger.jobs.queue_statuses(jobs, context.now(), _silent_seconds(context))
    )


def _with_status(context: AppContext, jobs: Sequence[Job], found: Mapping[str, QueueStatus]) -> list[schemas.Job]:
    """Jobs with their statuses by id, and what is missing where no live worker can do one."""
    lines = missing_by_ability(context) if any(each.missing for each in found.values()) else {}
    return [serializers.serialize_job(job, found[job.id], _missing(lines, found[job.id])) for job in jobs]


def _silent_seconds(context: AppContext) -> float:
    """Seconds without a heartbeat after which no time is told for a worker's job."""
    return MISSED_BEATS * context.tasks.lease.heartbeat


@dataclass(frozen=True, slots=True)
class _Update:
    """What has changed of a job since the last read."""

    job: Job
    events: Sequence[EventRow]
    standing: Mapping[str, object] | None
    """Data of a `standing` event: place, estimate, what is missing, portraits; None when not read, or the job has ended."""


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
    status = context.ledger.jobs.queue_status(job, context.now(), _silent_seconds(context))
    seconds = None if status.seconds is None else round(status.seconds)
    missing = _missing(missing_by_ability(context), status) if status.missing else []
    now = {"place": status.place, "seconds_left": seconds, "missing": missing}
    return _Update(job, events, {"state": job.state, **now, "portraits": len(status.portraits)})


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
            data = serializers.serialize_event(each).model_dump_json(exclude={"portraits"})
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


def _missing(lines: Mapping[str, list[str]], status: QueueStatus) -> list[str]:
    """What is missing for a job that no live worker can do, one sentence each; `lines` as `missing_by_ability` gives them."""
    return list(dict.fromkeys(line for word in status.missing for line in lines.get(word) or [NO_WORKER]))


def accepted(context: AppContext, job: Job) -> Response:
    """The 202 response to a new job: the job, its `Location`, and when to poll it."""
    return created(job_response(context, job), f"/v1/jobs/{job.id}", 202, RETRY_AFTER)
