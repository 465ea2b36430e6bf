"""Serves the task API by uvicorn, in one process or several, by http or https, at the root or behind a proxy under a path."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.formparsers import MultiPartParser
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from tasks import logs
from tasks.api.app import create_app, open_context
from tasks.api.context import AppContext
from tasks.api.serving.behind_proxy import RootPathMiddleware
from tasks.api.serving.connections import TimedH11Protocol
from tasks.api.serving.stopping import StoppingMiddleware
from tasks.settings import Installation, load_installation
from tasks.telemetry import tracing
from tasks.telemetry.metrics import share_between_processes

SPOOLED_BYTES = 64_000
"""Bytes of an uploaded file that lie in memory, before it is written to the disk."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the API is served."""

    host: str = "127.0.0.1"
    port: int = 8000
    processes: int = 1
    """Each has limits, thumbnails and decoders of its own."""
    certificate: Path | None = None
    """PEM file of a certificate and its chain, for https; http without one."""
    key: Path | None = None
    """PEM file of its key, where that is another file."""


def serve(installation: Installation, options: ServerOptions) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Raises `OperatorError` where the installation cannot be opened."""
    context = open_context(installation)
    if options.processes == 1:
        server = uvicorn.Server(_config(installation, options, build(context)))
        server.run()
        return 0 if server.started else 1
    # Each process opens its own: neither a database's connections nor Celery's survive a fork, and none is made here.
    context.ledger.close()
    context.celery.close()
    config = _config(installation, options, "tasks.api.serving.server:build_from_settings")
    config.bind_socket().close()  # exits where another program has the port
    shared = share_between_processes()
    try:
        Multiprocess(config, sockets=None).run()  # pyrefly: ignore[bad-argument-type] -- then each process binds its own
    finally:
        shutil.rmtree(shared, ignore_errors=True)
    return 0


class SharedPortEventLoop(asyncio.SelectorEventLoop):
    """The event loop of one of several processes, each of which listens on a socket of its own at the same port.

    The system spreads connections over them. On one socket together, the process that wakes first takes all that are waiting.
    """

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """As `asyncio.loop.create_server`, at a port that other processes of the same user listen at too."""
        return await super().create_server(protocol_factory, host, port, reuse_port=True, **options)


def build(context: AppContext) -> ASGIApp:
    """The application with what surrounds it: its root path, and how it stops."""
    # Uploads lie on the disk of the data, not in a /tmp that may be memory.
    tempfile.tempdir = str(context.files.incoming)
    MultiPartParser.spool_max_size = SPOOLED_BYTES
    tracing.configure("api", context.tasks.tracing)
    return StoppingMiddleware(RootPathMiddleware(create_app(context), context.tasks.api.root_path))


def build_from_settings() -> ASGIApp:
    """As `build`, in a process of its own, which reads the settings anew."""
    logs.configure("api")
    return build(open_context(load_installation()))


def _config(installation: Installation, options: ServerOptions, app: ASGIApp | str) -> uvicorn.Config:
    tasks = installation.tasks
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        host=options.host,
        port=options.port,
        workers=options.processes,
        loop="auto" if options.processes == 1 else "tasks.api.serving.server:SharedPortEventLoop",
        log_config=None,
        access_log=False,
        server_header=False,
        http=TimedH11Protocol,
        ws="none",
        limit_concurrency=tasks.limits.connections,
        forwarded_allow_ips=tasks.app.proxies,
        timeout_graceful_shutdown=round(tasks.api.shutdown_seconds),
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
    )
