"""The FastAPI application of the task API: routers, middleware, error handlers, OpenAPI document; and its server."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from tasks import schemas
from tasks.api import problems
from tasks.api.context import AppContext
from tasks.api.metrics import LedgerMetrics, RequestMetrics
from tasks.api.middleware import ETagMiddleware, RequestMiddleware
from tasks.api.routes import (
    edits,
    generation_options,
    idphotos,
    jobs,
    keys,
    me,
    operator,
    operator_styles,
    people,
    portraits,
    selfies,
    styles,
    system,
    webhooks,
)
from tasks.files import Files, disk_error
from tasks.ledger.ledger import open_ledger
from tasks.queue import broker
from tasks.settings import Installation

ROUTERS = (keys, people, selfies, jobs, portraits, edits, styles, generation_options, idphotos, webhooks, me)
OPERATOR_ROUTERS = (system, operator, operator_styles)


def open_context(installation: Installation) -> AppContext:
    """Ledger, files and Celery app of an API process; raises `OperatorError`, whose code says which is missing."""
    tasks = installation.tasks
    files = Files(tasks.data)
    try:
        files.incoming.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error) from error
    return AppContext(installation, open_ledger(tasks.database), files, broker.create_app(tasks))


def create_app(context: AppContext) -> FastAPI:
    """The application of an installation; `context` is closed when it shuts down."""
    app = FastAPI(
        title="Portrait",
        version="1",
        summary="Selfies to portraits, as jobs that cannot be lost.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    registry = CollectorRegistry()
    app.state.context, app.state.metrics = context, registry
    registry.register(LedgerMetrics(context))
    router = APIRouter(prefix="/v1", responses=problems.problem_responses(500, 503))
    for each in (*ROUTERS, *OPERATOR_ROUTERS):
        router.include_router(each.router)
    app.include_router(router)
    problems.install_handlers(app)
    app.add_middleware(ETagMiddleware)
    upload_bytes = context.tasks.quotas.upload_megabytes * 1_000_000
    app.add_middleware(RequestMiddleware, metrics=RequestMetrics(registry), upload_bytes=upload_bytes)
    _customize_openapi(app)
    return app


def serve(installation: Installation, host: str, port: int) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    context = open_context(installation)
    # Uploads lie on the disk of the data, not in a /tmp that may be memory.
    tempfile.tempdir = str(context.files.incoming)
    config = uvicorn.Config(
        create_app(context),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    context: AppContext = app.state.context
    context.ledger.close()
    context.celery.close()


def _customize_openapi(app: FastAPI) -> None:
    """Add to the OpenAPI document what every route may answer: problems, 304, and 400 and 413 where there is a body."""
    plain = app.openapi

    def openapi() -> dict[str, object]:
        document = plain()
        parts = document["components"]["schemas"]
        if "Problem" not in parts:
            schema = schemas.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            parts |= schema.pop("$defs", {})
            parts["Problem"] = schema
            for name in ("HTTPValidationError", "ValidationError"):
                parts.pop(name, None)
            for method, operation in (each for path in document["paths"].values() for each in path.items()):
                content = operation["responses"].get("200", {}).get("content", {})
                if method == "get" and content.keys() & {"application/json", "image/*"}:
                    operation["responses"]["304"] = {"description": "It is still what `If-None-Match` names."}
                if "requestBody" in operation:
                    unread = problems.problem_responses(400, 413).items()
                    operation["responses"] = {str(status): each for status, each in unread} | operation["responses"]
        return document

    app.openapi = openapi
