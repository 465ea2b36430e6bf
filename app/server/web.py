"""The app's web server: Streamlit's pages, the routes beside them, and the middleware that asks for a sign-in."""

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

from app.components import errors
from app.server import routes
from app.session import KEY_COOKIE

_PUBLIC = (routes.SIGN_IN, "/language/", "/_stcore/", "/static/")
"""Prefixes of paths that are served without a sign-in: the sign-in itself, and scripts and styles of the pages."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


class SignInMiddleware:
    """Redirects requests for pages without a key to the sign-in page, and adds security headers to every response.

    It only asks whether there is a key; whether it is valid, the task API says.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        request = Request(scope)
        if _is_page_request(request) and KEY_COOKIE not in request.cookies:
            await RedirectResponse(routes.SIGN_IN, 303)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


def create_app() -> st.App:
    """The ASGI app, to be served by uvicorn."""
    return st.App(
        Path(__file__).parent.parent / "main.py",
        routes=routes.build_routes(),
        middleware=[Middleware(SignInMiddleware)],
        on_script_error=errors.on_script_error,
    )


def serve(host: str, port: int) -> int:
    """Serve until a signal stops it; returns the exit code."""
    # Addresses may hold sign-in codes, and Streamlit gives this log a way out that uvicorn's own switch does not close.
    logging.getLogger("uvicorn.access").disabled = True
    config = uvicorn.Config(
        create_app(),
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
    parser = argparse.ArgumentParser(prog="python -m app.server.web", description="Serve the app's pages.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501)
    options = parser.parse_args()
    return serve(options.host, options.port)


def _is_page_request(request: Request) -> bool:
    """Whether a browser requests a page that takes a sign-in."""
    accepts_html = request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("accept", "")
    return accepts_html and not request.url.path.startswith(_PUBLIC)


if __name__ == "__main__":
    raise SystemExit(main())
