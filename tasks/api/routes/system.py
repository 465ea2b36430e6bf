"""How the installation is: alive, ready, what it can do, figures for Prometheus."""

import os
from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pipelines import model_requirements
from portrait.errors import OperatorError
from tasks import schemas
from tasks.api.context import AnOperator, Office, TheCaller, TheOffice
from tasks.api.problems import documented
from tasks.api.routes.styles import abilities
from tasks.queue import broker

router = APIRouter(tags=["system"])


@router.get("/health")
def get_health() -> schemas.Health:
    """Whether this process answers."""
    return schemas.Health(status="ok")


@router.get("/ready", response_model=schemas.Health, responses={503: {"model": schemas.Health}})
def get_ready(office: TheOffice) -> Response:
    """Whether the installation can take work: database, broker, data folder, workers."""
    checks = {name: check(office) for name, check in _CHECKS.items()}
    broken = {name for name, found in checks.items() if found != "ok"} - {"workers"}
    status = "unready" if broken else "ok"
    return JSONResponse(schemas.Health(status=status, checks=checks).model_dump(), 503 if broken else 200)


@router.get("/abilities", responses=documented(401))
def get_abilities(office: TheOffice, _: TheCaller) -> schemas.Page[schemas.Ability]:
    """What this installation can do at present, and what the rest takes."""
    found, flows = abilities(office), office.installation.flows
    bases = {name: name.split(":")[1] for name in found if name.startswith(("base:", "train:"))}
    families = {base: model_requirements.family_of(flows, base) for base in set(bases.values())}
    items = [
        schemas.Ability(
            name=name, ready=not found[name], missing=found[name], family=families.get(bases.get(name, ""), "")
        )
        for name in sorted(found)
    ]
    return schemas.Page(items=items, next=None)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"description": "Prometheus text."}, **documented(401, 403)},
)
def get_metrics(request: Request, _: AnOperator) -> Response:
    """Requests, jobs, workers and webhooks in Prometheus's format."""
    return Response(generate_latest(request.app.state.metrics), media_type=CONTENT_TYPE_LATEST)


def _database(office: Office) -> str:
    try:
        office.store.queue.waiting()
    except OperatorError as error:
        return error.message
    return "ok"


def _broker(office: Office) -> str:
    heard = broker.unheard(office.bell, "cpu") is not None
    return "ok" if heard else "The broker does not answer. Jobs are kept, and start when it does."


def _disk(office: Office) -> str:
    root = office.files.root
    return "ok" if root.is_dir() and os.access(root, os.W_OK) else "The data folder cannot be written."


def _workers(office: Office) -> str:
    try:
        return "ok" if office.store.staff.live(office.now()) else "No worker is running: jobs wait."
    except OperatorError as error:
        return error.message


_CHECKS: dict[str, Callable[[Office], str]] = {
    "database": _database,
    "broker": _broker,
    "data": _disk,
    "workers": _workers,
}
