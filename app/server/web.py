"""The app's web server: Streamlit's pages, the routes beside them, and the middleware that asks for a sign-in."""

import argparse
import asyncio
import ctypes
import gc
import importlib
import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import streamlit as st
import streamlit.logger
import uvicorn
from starlette.middleware import Middleware

from app import session
from app.components import errors
from app.server import assets, routes
from app.server.access import AccessMiddleware
from app.server.uploads import UploadLimits
from tasks.private_files import FileSettings, prepare_process

MOST_CONNECTIONS = 1000
"""Connections at once; one more gets 503."""
_MOST_MESSAGE_BYTES = 4_000_000
"""Of one message of a page; pictures do not come this way."""
_M_ARENA_MAX = -8
"""glibc's number of that setting."""


@dataclass(frozen=True, slots=True)
class WebOptions:
    """How the app is served."""

    url: str = ""
    """The address under which people open it, such as `https://portraits.example.org`."""
    proxies: str = "127.0.0.1"
    """Addresses or networks, separated by commas, of the proxies whose `X-Forwarded-…` headers are believed."""
    uploads: UploadLimits = field(default_factory=UploadLimits)
    protocol: type[asyncio.Protocol] | Literal["auto"] = "auto"
    """uvicorn's HTTP protocol, or one that closes connections on which no request arrives."""
    certificate: Path | None = None
    """PEM file of a certificate and its chain, for https; http without one."""
    key: Path | None = None
    """PEM file of its key, where that is another file."""
    shutdown_seconds: float = 3
    """For which downloads may go on when the app is to stop."""


def create_app(options: WebOptions | None = None) -> st.App:
    """The ASGI app, to be served by uvicorn."""
    options = options or WebOptions()
    access = routes.make_access(options.url, options.uploads)
    return st.App(
        Path(__file__).parent.parent / "main.py",
        routes=routes.build_routes(access),
        middleware=[Middleware(AccessMiddleware, access=access), Middleware(assets.AssetMiddleware)],
        on_script_error=errors.on_script_error,
    )


def serve(host: str, port: int, options: WebOptions | None = None) -> int:
    """Serve until a signal stops it; returns the exit code."""
    options = options or WebOptions()
    _share_arena()
    _log_through_root()
    # Addresses may hold sign-in codes, and Streamlit gives this log a way out that uvicorn's own switch does not close.
    logging.getLogger("uvicorn.access").disabled = True
    config = uvicorn.Config(
        create_app(options),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=options.proxies,
        http=options.protocol,
        limit_concurrency=MOST_CONNECTIONS,
        ws_max_size=_MOST_MESSAGE_BYTES,
        timeout_graceful_shutdown=round(options.shutdown_seconds),
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
    )
    threading.Thread(target=prepare, daemon=True).start()
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


def _share_arena() -> None:
    """Have all threads take memory from one arena, 25 MB less after a first visit: Python lets one go on at a time anyway."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _log_through_root() -> None:
    """Have Streamlit's loggers, and those of uvicorn that it takes over, write as all others do: it gives each a format."""

    def pass_on(logger: logging.Logger) -> None:
        logger.handlers.clear()
        logger.propagate = True

    streamlit.logger.setup_formatter = pass_on  # also of loggers that it makes later
    streamlit.logger.update_formatter()


def prepare() -> None:
    """Do what the first visitor would have to wait for: import the pages and what draws them, and cut the font of icons.

    Streamlit collects garbage after each run of the script, while which nobody's page goes on. What is here before the first
    run stays for good: it is left out, and a collection takes a few milliseconds in place of a hundred.
    """
    importlib.import_module("app.pages")
    session.connections()
    gc.collect()
    gc.freeze()
    assets.prepare()


def main() -> int:
    """`python -m app.server.web --host 127.0.0.1 --port 8501`, as `portrait app` but without its settings."""
    parser = argparse.ArgumentParser(prog="python -m app.server.web", description="Serve the app's pages.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--url", default="", help="The address under which people open the app.")
    options = parser.parse_args()
    prepare_process(FileSettings())
    proxies = os.environ.get("FORWARDED_ALLOW_IPS", WebOptions().proxies)
    return serve(options.host, options.port, WebOptions(options.url, proxies))


if __name__ == "__main__":
    raise SystemExit(main())
