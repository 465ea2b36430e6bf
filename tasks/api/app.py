"""The FastAPI application of the task API: routers, middleware, error handlers, OpenAPI document; and its server."""

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from anyio.to_thread import run_sync
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from starlette.formparsers import MultiPartParser

from pipelines.guards.pictures import in_words
from portrait.errors import OperatorError
from tasks import schemas
from tasks.api import problems
from tasks.api.connections import TimedH11Protocol
from tasks.api.context import AppContext
from tasks.api.limits import LimitMiddleware
from tasks.api.metrics import LedgerMetrics, RequestMetrics
from tasks.api.middleware import ETagMiddleware, RequestMiddleware
from tasks.api.routes import (
    before,
    idphotos,
    jobs,
    keys,
    me,
    operator,
    operator_styles,
    people,
    portraits,
    selfies,
    sessions,
    styles,
    system,
    verify,
    webhooks,
)
from tasks.api.routes.admin import audit, consents, guards, invitations, owners, privacy
from tasks.api.routes.ordering import edits, generation_options, orders
from tasks.consent_texts import load_texts
from tasks.erasing import ErasureWatch
from tasks.files import Files, disk_error
from tasks.ledger.ledger import open_ledger
from tasks.queue import broker
from tasks.settings import Installation

ROUTERS = (
    *(
        keys,
        sessions,
        people,
        selfies,
        orders,
        jobs,
        portraits,
        before,
        edits,
        styles,
        generation_options,
        idphotos,
        webhooks,
        verify,
    ),
    me,
)
OPERATOR_ROUTERS = (system, operator, operator_styles, guards, owners, invitations, audit, consents, privacy)

FORM_FILES, FORM_FIELDS, FIELD_BYTES = 100, 20, 10_000
"""Parts of a form at most. No route has fields of text, which lie in memory; files are counted by the routes too."""
FORGETTING_INTERVAL = 20.0
"""Seconds between two looks for erasures of other processes."""
LOOKS_AFTER_NEWS = 3
"""Looks after an erasure at which thumbnails are dropped: one may just have been made of a file that was still there."""
SPOOLED_BYTES = 64_000
"""Bytes of an uploaded file that lie in memory, before it is written to the disk."""
_log = logging.getLogger("portrait.api")


def open_context(installation: Installation) -> AppContext:
    """Ledger, files and Celery app of an API process; raises `OperatorError`, whose code says which is missing."""
    tasks = installation.tasks
    files = Files(tasks.data)
    try:
        files.incoming.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error) from error
    texts = load_texts(tasks.consent.texts)
    ledger = open_ledger(tasks.database)
    ledger.consents.publish(texts, ledger.now())
    if unguarded := in_words(installation.flows):
        _log.warning("%s", unguarded)
    return AppContext(installation, ledger, files, broker.create_app(tasks), ledger.now)


def create_app(context: AppContext) -> FastAPI:
    """The application of an installation; `context` is closed when it shuts down."""
    app = FastAPI(
        title="Portrait",
        version="1",
        summary="Selfies to portraits, as jobs that cannot be lost.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        form_limits={"max_files": FORM_FILES, "max_fields": FORM_FIELDS, "max_part_size": FIELD_BYTES},
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
    app.add_middleware(LimitMiddleware, tasks=context.tasks)
    app.add_middleware(RequestMiddleware, metrics=RequestMetrics(registry))
    _customize_openapi(app)
    return app


def serve(installation: Installation, host: str, port: int) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    context = open_context(installation)
    # Uploads lie on the disk of the data, not in a /tmp that may be memory.
    tempfile.tempdir = str(context.files.incoming)
    MultiPartParser.spool_max_size = SPOOLED_BYTES
    config = uvicorn.Config(
        create_app(context),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        http=TimedH11Protocol,
        ws="none",
        limit_concurrency=context.tasks.limits.connections,
        forwarded_allow_ips=context.tasks.app.proxies,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: AppContext = app.state.context
    forgetting = asyncio.create_task(_forget_erased(context))
    yield
    forgetting.cancel()
    with suppress(asyncio.CancelledError):
        await forgetting
    context.thumbnails.close()
    context.ledger.close()
    context.celery.close()


async def _forget_erased(context: AppContext) -> None:
    """Drop the thumbnails of what other processes erased."""
    watch, looks = ErasureWatch(context.ledger), 0
    while True:
        with suppress(OperatorError):  # the database does not answer
            looks = LOOKS_AFTER_NEWS if await run_sync(watch.has_news) else looks - 1
            if looks > 0:
                context.thumbnails.clear()
        await asyncio.sleep(FORGETTING_INTERVAL)


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
                often = {str(status): each for status, each in problems.problem_responses(429).items()}
                operation["responses"] = often | operation["responses"]
                if "requestBody" in operation:
                    unread = problems.problem_responses(400, 408, 413).items()
                    operation["responses"] = {str(status): each for status, each in unread} | operation["responses"]
        return document

    app.openapi = openapi
