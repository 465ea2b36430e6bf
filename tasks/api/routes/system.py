"""Routes of the installation: health, readiness, abilities, metrics for Prometheus."""

from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from pipelines import model_requirements
from pipelines.model_store.store import ModelStore
from portrait.errors import OperatorError
from tasks import schemas
from tasks.api.context import AppContext, CallerDep, ContextDep, ListPagingDep, OperatorDep, page_of
from tasks.api.problems import problem_responses
from tasks.api.routes.styles import missing_by_ability
from tasks.queue import broker
from tasks.telemetry.metrics_server import exposition

router = APIRouter(tags=["system"])


@router.get("/health")
async def get_health() -> schemas.Health:
    """Liveness: whether this process responds. Asks nothing, and needs none of the threads that requests share."""
    return schemas.Health(status="ok")


@router.get("/ready", response_model=schemas.Health, responses={503: {"model": schemas.Health}})
def get_readiness(context: ContextDep) -> Response:
    """Readiness: checks of database, broker, data folder and workers; 503 where jobs cannot be accepted.

    While the broker or every worker is away it answers `degraded` with 200: jobs are accepted, and start when they are back.
    Checked once a second at most: anybody may ask.
    """
    checks = context.readiness.get(lambda: {name: check(context) for name, check in _CHECKS.items()})
    broken = {name for name, found in checks.items() if found != "ok"}
    unready = bool(broken & _NEEDED)
    status = "unready" if unready else "degraded" if broken else "ok"
    return JSONResponse(schemas.Health(status=status, checks=checks).model_dump(), 503 if unready else 200)


@router.get("/abilities", responses=problem_responses(401, 422))
def list_abilities(context: ContextDep, _: CallerDep, paging: ListPagingDep) -> schemas.Page[schemas.Ability]:
    """The abilities of live workers, and what is missing for those that none has."""
    found, flows = missing_by_ability(context), context.installation.flows
    bases = {name: name.split(":")[1] for name in found if name.startswith(("base:", "train:"))}
    models = ModelStore(flows.models)
    of_base = {
        base: {
            "family": model_requirements.family_of(flows, base),
            "learn_on": model_requirements.pair_of(flows, base, models).learn_on,
        }
        for base in set(bases.values())
    }
    items = [
        schemas.Ability(name=name, ready=not lacks, missing=lacks, **of_base.get(bases.get(name, ""), {}))
        for name, lacks in sorted(found.items())
    ]
    items, more = page_of(items, paging, lambda ability: ability.name)
    return schemas.Page(items=list(items), next=more)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"description": "Prometheus text."}, **problem_responses(401, 403)},
)
def get_metrics(request: Request, _: OperatorDep) -> Response:
    """Metrics of this process, of the ledger and of the data folder's disk in the Prometheus text format."""
    return Response(exposition(*request.app.state.metrics), media_type=CONTENT_TYPE_LATEST)


def _database(context: AppContext) -> str:
    try:
        context.ledger.queue.count_waiting()
    except OperatorError as error:
        return error.message
    return "ok"


def _broker(context: AppContext) -> str:
    heard = broker.pending_messages(context.celery, "cpu") is not None
    return "ok" if heard else "The broker does not answer. Jobs are kept, and start when it does."


def _disk(context: AppContext) -> str:
    try:
        context.files.check()
    except OperatorError as error:
        return error.message
    return "ok"


def _workers(context: AppContext) -> str:
    try:
        live = context.ledger.workers.list_live(context.now())
    except OperatorError as error:
        return error.message
    return "ok" if live else "No worker is running: jobs wait."


_CHECKS: dict[str, Callable[[AppContext], str]] = {
    "database": _database,
    "broker": _broker,
    "data": _disk,
    "workers": _workers,
}
_NEEDED = {"database", "data"}
"""Checks without which no job can be accepted."""
