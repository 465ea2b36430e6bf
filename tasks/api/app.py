"""Puts the task API together and serves it."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from tasks import schemas
from tasks.api import problems
from tasks.api.context import Office
from tasks.api.metrics import LedgerFigures
from tasks.api.middleware import Around, Figures, Tags
from tasks.api.routes import (
    edits,
    generation_options,
    jobs,
    keys,
    me,
    operator,
    operator_styles,
    people,
    portraits,
    remakes,
    selfies,
    system,
    webhooks,
)
from tasks.api.routes import styles as looks
from tasks.files import Files, refused
from tasks.ledger.ledger import open_store
from tasks.queue import broker
from tasks.settings import Installation

ROUTERS = (
    keys,
    people,
    selfies,
    jobs,
    portraits,
    remakes,
    edits,
    looks,
    generation_options,
    webhooks,
    me,
    system,
    operator,
    operator_styles,
)


def open_office(installation: Installation) -> Office:
    """Ledger, files and bell of an API process; raises `OperatorError`, whose code says which is missing."""
    tasks = installation.tasks
    files = Files(tasks.data)
    try:
        files.incoming.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(error) from error
    return Office(installation, open_store(tasks.database), files, broker.make(tasks))


def make(office: Office) -> FastAPI:
    """The API of an installation."""
    app = FastAPI(
        title="Portrait",
        version="1",
        summary="Selfies to portraits, as jobs that cannot be lost.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=_lifespan,
    )
    registry = CollectorRegistry()
    app.state.office, app.state.metrics = office, registry
    registry.register(LedgerFigures(office))
    router = APIRouter(prefix="/v1", responses=problems.documented(500, 503))
    for each in ROUTERS:
        router.include_router(each.router)
    app.include_router(router)
    problems.install(app)
    app.add_middleware(Tags)
    app.add_middleware(Around, figures=Figures(registry), upload_bytes=office.tasks.quotas.upload_megabytes * 1_000_000)
    _document(app)
    return app


def serve(installation: Installation, host: str, port: int) -> int:
    """Serve until told to stop; returns the exit code."""
    office = open_office(installation)
    # Uploads lie on the disk of the data, not in a /tmp that may be memory.
    tempfile.tempdir = str(office.files.incoming)
    config = uvicorn.Config(
        make(office),
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
    app.state.office.store.close()
    app.state.office.bell.close()


def _document(app: FastAPI) -> None:
    """Problems are answers of every route: their schema stands in the document; a body may be broken or too large."""
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
                said = operation["responses"].get("200", {}).get("content", {})
                if method == "get" and said.keys() & {"application/json", "image/*"}:
                    operation["responses"]["304"] = {"description": "It is still what `If-None-Match` names."}
                if "requestBody" in operation:
                    unread = {str(status): said for status, said in problems.documented(400, 413).items()}
                    operation["responses"] = unread | operation["responses"]
        return document

    app.openapi = openapi
