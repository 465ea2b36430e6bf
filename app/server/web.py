"""The app as a server: Streamlit's pages, our routes around them, and who may come in."""

import argparse
import logging
from pathlib import Path

import streamlit as st
import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import cookies
from app.components import errors
from app.server import routes

_OPEN = (routes.SIGN_IN, "/language/", "/_stcore/", "/static/")
"""What is served to everybody: the way in, and what pages are made of."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


class Gate:
    """Sends whoever has not signed in to the sign-in page, and adds the headers that protect a page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        request = Request(scope)
        if _is_page(request) and cookies.KEY not in request.cookies:
            await RedirectResponse(routes.SIGN_IN, 303)(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)


def make() -> st.App:
    """The app, to be served by uvicorn."""
    return st.App(
        Path(__file__).parent.parent / "main.py",
        routes=routes.make(),
        middleware=[Middleware(Gate)],
        on_script_error=errors.caught,
    )


def serve(host: str, port: int) -> int:
    """Serve until told to stop; returns the exit code."""
    # Addresses may hold sign-in codes, and Streamlit gives this log a way out that uvicorn's own switch does not close.
    logging.getLogger("uvicorn.access").disabled = True
    config = uvicorn.Config(
        make(),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


def main() -> int:
    """`python -m app.server.web --host 127.0.0.1 --port 8501`."""
    told = argparse.ArgumentParser(prog="python -m app.server.web", description="Serve the app's pages.")
    told.add_argument("--host", default="127.0.0.1")
    told.add_argument("--port", type=int, default=8501)
    asked = told.parse_args()
    return serve(asked.host, asked.port)


def _is_page(request: Request) -> bool:
    """Whether a browser asks for a page, which only those who signed in may see."""
    wants = request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("accept", "")
    return wants and not request.url.path.startswith(_OPEN)


if __name__ == "__main__":
    raise SystemExit(main())
