"""For operators: everybody's jobs, workers, models, and how styles and queues do."""

from collections.abc import Sequence
from statistics import median
from typing import Annotated

from fastapi import APIRouter, Query

from pipelines.model_store.store import Models
from tasks import schemas
from tasks.api import serializers
from tasks.api.context import AnId, AnOperator, Cursor, Limit, Office, TheOffice
from tasks.api.problems import documented
from tasks.api.routes.jobs import told
from tasks.jobs import Job
from tasks.queue import broker

router = APIRouter(prefix="/operator", tags=["operator"])


@router.get("/jobs", responses=documented(401, 403, 422))
def list_everybodys_jobs(
    office: TheOffice,
    _: AnOperator,
    state: Annotated[list[schemas.State] | None, Query()] = None,
    kind: Annotated[schemas.JobKind | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> schemas.Page[schemas.Job]:
    """Everybody's jobs, the newest first."""
    page = office.store.jobs.list_all(state or (), kind or "", cursor, limit)
    return schemas.Page(items=[_plain(office, job) for job in page.items], next=page.next)


@router.post("/jobs/{id}/cancel", status_code=202, responses=documented(401, 403, 404, 409, 422))
def cancel_anyones_job(id: AnId, office: TheOffice, _: AnOperator) -> schemas.Job:
    """Stop anybody's job."""
    return _plain(office, office.store.jobs.cancel_any(id, office.now()))


@router.post("/jobs/{id}/retry", status_code=202, responses=documented(401, 403, 404, 409, 422))
def retry_anyones_job(id: AnId, office: TheOffice, _: AnOperator) -> schemas.Job:
    """Queue a dead job again, whoever owns it."""
    job = office.store.jobs.retry_any(id, office.now())
    broker.ring(office.bell, job.queue)
    return _plain(office, job)


@router.post("/jobs/prune", responses=documented(401, 403, 422))
def prune_jobs(office: TheOffice, _: AnOperator, days: Annotated[float, Query(ge=0, le=3650)] = 7) -> schemas.Pruned:
    """Forget jobs that ended so long ago and left no portraits."""
    gone = office.store.queue.prune(office.now() - days * serializers.DAY)
    for job in gone:
        office.files.erase_job(job.owner, job.id)
    return schemas.Pruned(jobs=len(gone))


@router.get("/queues", responses=documented(401, 403))
def list_queues(office: TheOffice, _: AnOperator) -> schemas.Page[schemas.Waiting]:
    """How many jobs of each queue are in which state."""
    found: dict[str, dict[str, int]] = {}
    for (queue, state), count in office.store.jobs.counts().items():
        found.setdefault(queue, {})[state] = count
    items = [schemas.Waiting(queue=queue, states=found[queue]) for queue in sorted(found)]
    return schemas.Page(items=items, next=None)


@router.get("/workers", responses=documented(401, 403))
def list_workers(office: TheOffice, _: AnOperator) -> schemas.Page[schemas.Worker]:
    """Live workers: what they can do, and what the rest takes."""
    live = office.store.staff.live(office.now())
    return schemas.Page(items=[serializers.worker(row) for row in live], next=None)


@router.get("/models", responses=documented(401, 403))
def list_models(office: TheOffice, _: AnOperator) -> schemas.Page[schemas.ModelStatus]:
    """Models on the API's machine: here or not, on what terms, and the command that brings them."""
    models = Models(office.installation.flows.models)
    items = [
        schemas.ModelStatus(
            name=state.model.name,
            purpose=state.model.purpose,
            licence=state.model.licence,
            commercial=state.model.commercial,
            ready=state.state == "here",
            missing=models.missing(state.model.name),
        )
        for state in models.list()
    ]
    return schemas.Page(items=items, next=None)


@router.get("/figures", responses=documented(401, 403))
def get_figures(office: TheOffice, _: AnOperator) -> schemas.Figures:
    """Quality at a glance: likeness and favourites by style, waiting and running times by kind of job."""
    styles = [
        schemas.StyleFigures(
            style=each.style,
            portraits=each.portraits,
            favourites=each.favourites,
            failures=each.failures,
            likeness_median=each.median,
            likeness_worst_tenth=each.worst_tenth,
        )
        for each in office.store.figures.styles()
    ]
    times = [
        schemas.TimeFigures(
            kind=each.kind,
            jobs=len(each.runs),
            wait_median=median(each.waits),
            wait_p90=_percentile(each.waits, 0.9),
            run_median=median(each.runs),
            run_p90=_percentile(each.runs, 0.9),
        )
        for each in office.store.figures.times()
        if each.runs
    ]
    return schemas.Figures(styles=styles, times=times)


def _plain(office: Office, job: Job) -> schemas.Job:
    """A job without what it says of itself, which may name somebody's photo."""
    return told(office, job).model_copy(update={"message": ""})


def _percentile(ordered: Sequence[float], share: float) -> float:

    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
