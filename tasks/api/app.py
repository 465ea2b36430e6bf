"""The FastAPI application of the task API: routers, middleware, error handlers, OpenAPI document."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from anyio.to_thread import run_sync
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from pipelines.guards.pictures import in_words
from portrait.errors import OperatorError
from tasks.api import openapi, problems
from tasks.api.context import AppContext
from tasks.api.limits import LimitMiddleware
from tasks.api.metrics import RequestMetrics, collectors
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
from tasks.files import disk_error, open_files
from tasks.ledger.ledger import open_ledger
from tasks.queue import broker
from tasks.queue.running.copies import MachineCopies
from tasks.settings import Installation
from tasks.telemetry import tracing

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
_log = logging.getLogger("portrait.api")


def open_context(installation: Installation) -> AppContext:
    """Ledger, files and Celery app of an API process; raises `OperatorError`, whose code says which is missing."""
    tasks = installation.tasks
    files = open_files(tasks)
    try:
        files.incoming.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error) from error
    texts = load_texts(tasks.consent.texts)
    ledger = open_ledger(tasks.database, tasks.erasures)
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
        description=openapi.DESCRIPTION,
        servers=list(openapi.SERVERS),
        openapi_tags=openapi.tags(),
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        form_limits={"max_files": FORM_FILES, "max_fields": FORM_FIELDS, "max_part_size": FIELD_BYTES},
        lifespan=_lifespan,
        # Its own spans hold whole paths and queries, in which people's ids and words stand: see RequestMiddleware.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        generate_unique_id_function=lambda route: route.name,
    )
    requests = RequestMetrics(CollectorRegistry())
    app.state.context, app.state.metrics = context, collectors(context, requests)
    include_routers(app)
    problems.install_handlers(app)
    app.add_middleware(ETagMiddleware)
    app.add_middleware(LimitMiddleware, tasks=context.tasks)
    app.add_middleware(RequestMiddleware, metrics=requests)
    openapi.customize(app, [route for each in (*ROUTERS, *OPERATOR_ROUTERS) for route in each.router.routes])
    return app


def include_routers(app: FastAPI) -> None:
    """Have the application answer the routes of all routers, below `/v1`."""
    responses = problems.problem_responses(500, 503)
    # Each by itself: a router of routers is searched twice for the route of a request.
    for each in (*ROUTERS, *OPERATOR_ROUTERS):
        app.include_router(each.router, prefix="/v1", responses=responses)


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
    tracing.flush()


async def _forget_erased(context: AppContext) -> None:
    """Drop the thumbnails, and the copies of stored files, of what other processes erased."""
    watch, looks = ErasureWatch(context.ledger), 0
    copies = MachineCopies(context.ledger, context.files)
    while True:
        await run_sync(copies)
        with suppress(OperatorError):  # the database does not answer
            looks = LOOKS_AFTER_NEWS if await run_sync(watch.has_news) else looks - 1
            if looks > 0:
                context.thumbnails.clear()
        await asyncio.sleep(FORGETTING_INTERVAL)
