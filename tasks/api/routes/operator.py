"""Routes of operators: jobs of all owners, queues, workers, models, statistics."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any

from fastapi import APIRouter, Query

from pipelines import model_requirements
from pipelines.model_store.store import ModelStore
from portrait.errors import OperatorError, PortraitError, UserError
from tasks import schemas
from tasks.api import serializers
from tasks.api.context import (
    AppContext,
    AuthenticatedRoute,
    ContextDep,
    ListPagingDep,
    OperatorDep,
    PagingDep,
    PathId,
    from_parameters,
    page_of,
)
from tasks.api.problems import problem_responses
from tasks.api.routes.jobs import job_responses
from tasks.jobs import DAY, Job, without_words
from tasks.ledger.statistics import percentile
from tasks.queue import broker

router = APIRouter(prefix="/operator", tags=["operator"], route_class=AuthenticatedRoute)
FOR_THE_OWNER = "It lies in what was asked for, and its owner is told what to do."
"""In place of the message of a fault that only the owner can mend."""
_log = logging.getLogger("portrait.api")
STYLE_JOBS = ("check", "test")
"""Jobs of operators themselves, about styles and sample people."""


@dataclass(frozen=True, slots=True)
class LogPaging:
    """Which page of the log of a job is asked for."""

    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next` of the page before.")] = None
    limit: Annotated[int, Query(ge=1, le=500)] = 500


@router.get("/jobs", responses=problem_responses(401, 403, 422))
def list_all_jobs(
    context: ContextDep,
    _: OperatorDep,
    paging: PagingDep,
    state: Annotated[list[schemas.State] | None, Query()] = None,
    kind: schemas.JobKind | None = None,
    owner: Annotated[str, Query(max_length=64, description="Those of this owner alone.")] = "",
) -> schemas.Page[schemas.Job]:
    """Jobs of all owners, the newest first."""
    page = context.ledger.jobs.list_all(state or (), kind or "", paging.cursor, paging.limit, owner)
    return schemas.Page(items=_all_for_operators(context, page.items), next=page.next)


@router.get("/jobs/{id}", responses=problem_responses(401, 403, 404, 422))
def get_any_job(id: PathId, context: ContextDep, _: OperatorDep) -> schemas.Job:
    """A job, whoever owns it."""
    return _for_operators(context, context.ledger.jobs.get_any(id))


@router.get("/jobs/{id}/log", responses=problem_responses(401, 403, 404, 422))
def get_job_log(
    id: PathId, context: ContextDep, _: OperatorDep, paging: Annotated[LogPaging, from_parameters(LogPaging)]
) -> schemas.Page[schemas.JobLogEntry]:
    """The states and steps of a job in their order: without messages, which may name somebody's photo."""
    owner, after = context.ledger.jobs.get_any(id).owner, int(paging.cursor or 0)
    events = context.ledger.jobs.events(owner, id, after, paging.limit + 1)
    shown = events[: paging.limit]
    items = [
        schemas.JobLogEntry.model_validate({"at": each.at, "state": each.state, **_step(each.data)}) for each in shown
    ]
    return schemas.Page(items=items, next=str(shown[-1].id) if len(events) > len(shown) else None)


@router.post("/jobs/{id}/cancel", status_code=202, responses=problem_responses(401, 403, 404, 409, 422))
def cancel_any_job(id: PathId, context: ContextDep, caller: OperatorDep) -> schemas.Job:
    """Cancel a job, whoever owns it."""
    job = context.ledger.jobs.cancel_any(id, context.now())
    context.audit(caller, "job.cancelled", id)
    return _for_operators(context, job)


@router.post("/jobs/{id}/retry", status_code=202, responses=problem_responses(401, 403, 404, 409, 422))
def retry_any_job(id: PathId, context: ContextDep, caller: OperatorDep) -> schemas.Job:
    """Queue a job again that failed, was cancelled or expired, whoever owns it."""
    job = context.ledger.jobs.retry_any(id, context.now())
    context.audit(caller, "job.retried", id)
    broker.notify(context.celery, job.queue)
    return _for_operators(context, job)


@router.patch("/jobs/{id}", responses=problem_responses(401, 403, 404, 409, 422))
def update_any_job(id: PathId, body: schemas.JobUpdate, context: ContextDep, caller: OperatorDep) -> schemas.Job:
    """Set the priority of a job that has not ended, whoever owns it: of a queue, jobs of a higher one are begun first."""
    job = context.ledger.queue.set_priority(id, body.priority, context.now())
    context.audit(caller, "job.prioritised", id, priority=body.priority)
    return _for_operators(context, job)


@router.post("/jobs/prune", responses=problem_responses(401, 403, 422))
def prune_jobs(
    context: ContextDep, caller: OperatorDep, days: Annotated[float, Query(ge=0, le=3650)] = 7
) -> schemas.PruneResult:
    """Delete jobs that ended `days` ago and left no portraits."""
    pruned = context.ledger.queue.prune(context.now() - days * DAY)
    for job in pruned:
        context.files.erase_job(job.owner, job.id)
    context.audit(caller, "jobs.pruned", "", jobs=len(pruned))
    return schemas.PruneResult(jobs=len(pruned))


@router.get("/queues", responses=problem_responses(401, 403, 422))
def list_queues(context: ContextDep, _: OperatorDep, paging: ListPagingDep) -> schemas.Page[schemas.QueueCounts]:
    """Number of jobs by queue and state."""
    found: dict[str, dict[str, int]] = {}
    for (queue, state), count in context.job_counts().items():
        found.setdefault(queue, {})[state] = count
    queues, more = page_of(sorted(found), paging, str)
    return schemas.Page(items=[schemas.QueueCounts(queue=each, states=found[each]) for each in queues], next=more)


@router.get("/workers", responses=problem_responses(401, 403, 422))
def list_workers(context: ContextDep, _: OperatorDep, paging: ListPagingDep) -> schemas.Page[schemas.Worker]:
    """Live workers with their abilities, and what is missing for others."""
    live, more = page_of(context.ledger.workers.list_live(context.now()), paging, lambda row: row.id)
    return schemas.Page[schemas.Worker].model_validate({"items": live, "next": more})


@router.get("/models", responses=problem_responses(401, 403, 422))
def list_models(context: ContextDep, _: OperatorDep, paging: ListPagingDep) -> schemas.ModelPage:
    """Models on the API's machine: installed or not, licence, and the command that downloads them; and those being added."""
    flows = context.installation.flows
    models, more = page_of(serializers.list_models(ModelStore(flows.models)), paging, lambda model: model.name)
    return schemas.ModelPage(items=list(models), next=more, profile=flows.profile)


@router.post("/models", status_code=202, responses=problem_responses(401, 403, 409, 422, 503))
def add_model(body: schemas.ModelRequest, context: ContextDep, caller: OperatorDep) -> schemas.ModelStatus:
    """Bring a model of one's own to the API's machine, from a hub or an address; `GET /v1/operator/models` says how far it is.

    Asked again meanwhile, it says how far it is. A file of that machine is added by `portrait models add` there.
    """
    models = ModelStore(context.installation.flows.models)
    model_requirements.check_model_family(body.family)
    try:
        run = models.start_adding(serializers.read_model_request(body))
    except OperatorError as error:
        if error.code != "model_busy" or body.source not in {each.source for each in models.additions()}:
            raise
    else:
        context.audit(caller, "model.added", body.name, source=body.source)
        threading.Thread(target=_add_in_background, args=(run,), name=f"adding-{body.name}", daemon=True).start()
    return next(each for each in serializers.list_models(models) if each.name == body.name)


@router.delete("/models/{name}", status_code=204, responses=problem_responses(401, 403, 404, 409, 422, 503))
def remove_model(name: PathId, context: ContextDep, caller: OperatorDep) -> None:
    """Delete a model of one's own with its files; or stop adding one, or forget one that could not be added."""
    try:
        ModelStore(context.installation.flows.models).remove(name)
    except OperatorError as error:
        if error.code == "unknown_model":
            raise UserError("not_found", f"There is no model {name!r}.") from error
        raise
    context.audit(caller, "model.removed", name)


@router.get("/figures", responses=problem_responses(401, 403, 422))
def get_statistics(
    context: ContextDep,
    _: OperatorDep,
    days: Annotated[float, Query(ge=0, le=3650, description="Of the last so many days; 0 for all that is kept.")] = 0,
) -> schemas.Statistics:
    """Likeness, favourites and failures by style, waiting and running times by kind of job."""
    since = context.now() - days * DAY if days else 0.0
    found = context.ledger.statistics.styles(since)
    styles = [serializers.serialize_statistics(schemas.StyleStatistics, each) for each in found]
    times = [
        schemas.JobTimes(
            kind=each.kind,
            jobs=len(each.runs),
            wait_median=median(each.waits),
            wait_p90=percentile(each.waits, 0.9),
            run_median=median(each.runs),
            run_p90=percentile(each.runs, 0.9),
        )
        for each in context.ledger.statistics.queues(since)
        if each.runs
    ]
    return schemas.Statistics(styles=styles, times=times)


def _step(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"phase": str(data.get("phase", "")), "progress": float(data.get("progress", 0.0))}


def _for_operators(context: AppContext, job: Job) -> schemas.Job:
    """A job as operators may see it: see `_without_words`."""
    return _all_for_operators(context, [job])[0]


def _all_for_operators(context: AppContext, jobs: Sequence[Job]) -> list[schemas.Job]:
    """Several jobs as `_for_operators` gives each; what they share is read once."""
    shown = job_responses(context, jobs)
    return [_without_words(job, each) for job, each in zip(jobs, shown, strict=True)]


def _without_words(job: Job, shown: schemas.Job) -> schemas.Job:
    """A job without what people wrote: the words of its request, and messages that may name somebody's photo."""
    if job.kind in STYLE_JOBS:
        return shown.model_copy(update={"message": ""})
    fault = shown.fault
    if fault is not None and job.fault is not None and job.fault.branch == "UserError":
        fault = fault.model_copy(update={"message": FOR_THE_OWNER, "errors": []})
    return shown.model_copy(update={"message": "", "wants": without_words(job.params), "fault": fault})


def _add_in_background(run: Callable[[], object]) -> None:
    """Add a model in a thread; whoever lists the models is told what came of it."""
    try:
        run()
    except PortraitError as error:
        _log.info("a model was not added: %s", error.code)
