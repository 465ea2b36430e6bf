"""The middleware before everything the app serves: only visitors who are signed in get past it, and only as far as they may.

Open to everybody are the sign-in, the page that verifies pictures, the language, the health check, and the scripts and styles
of the pages, which hold nothing personal. Streamlit's other routes (metrics, its interface for agents, its own sign-in) are
closed for all.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.server.attempts import Attempts
from app.server.headers import security_headers
from app.server.site import Site
from app.server.sockets import VisitorSocket
from app.server.uploads import Uploads, session_cookies
from app.server.visitors import Visitor, Visitors
from app.session import KEY_COOKIE, session_secret
from portrait.errors import PortraitError
from portrait.numbers import read_integer

SIGN_IN = "/sign-in"
VERIFY = "/verify"
HEALTH = "/_stcore/health"
VISITOR_HEADER = "x-portrait-visitor"
"""Tells Streamlit whose request it is, so that nobody resumes a page of somebody else's; never taken from a browser."""
MOST_PAGES = 20
"""Open pages of one session."""
MOST_ANNOUNCED = 10**15
"""Bytes that a request may announce and be told that there is no room."""
UPLOAD_SECONDS = 600.0
"""Seconds that one upload may take."""
_SIGN_IN_PATHS = {SIGN_IN, *(f"{SIGN_IN}/{each}" for each in ("provider", "oidc"))}
_OPEN_PATHS = {*_SIGN_IN_PATHS, VERIFY, "/sign-out", "/sign-out/everywhere", HEALTH}
_OPEN_FOLDERS = ("/language/", "/static/")
_STREAM, _UPLOADS = "/_stcore/stream", "/_stcore/upload_file/"
_STREAMLIT = {HEALTH, "/_stcore/host-config", _STREAM}
_STREAMLIT_FOLDERS = (_UPLOADS, "/_stcore/bidi-components/")
_CLOSED_FOLDERS = ("/_stcore/", "/auth/", "/component/", "/oauth2callback")


@dataclass(frozen=True, slots=True)
class Access:
    """What the middleware asks: who is signed in, and what is uploaded."""

    site: Site
    visitors: Visitors
    attempts: Attempts
    uploads: Uploads


class AccessMiddleware:
    """Lets requests and websockets of signed-in visitors through, and adds security headers to every response."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access
        self._headers = security_headers()
        self._pages: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or websocket."""
        if scope["type"] == "http":
            await self._handle_request(scope, receive, self._add_headers(scope, send))
        elif scope["type"] == "websocket":
            await self._handle_websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, connection = scope["path"], HTTPConnection(scope)
        if _is_closed(path):
            await PlainTextResponse("", 404)(scope, receive, send)
            return
        if path in _OPEN_PATHS or path.startswith(_OPEN_FOLDERS):
            await self._app(scope, receive, send)
            return
        try:
            visitor = await self._access.visitors.find(self._access.site.secret(connection), client_address(scope))
        except PortraitError:
            await _unanswered(connection)(scope, receive, send)
            return
        if visitor is None:
            await self._turn_away(connection)(scope, receive, send)
        elif path.startswith(_UPLOADS):
            await self._upload(_named(scope, visitor), receive, send, visitor)
        else:
            await self._app(_named(scope, visitor), receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send, visitor: Visitor) -> None:
        """Let a file through to a page of the visitor's own while there is room for it."""
        connection = HTTPConnection(scope)
        session = scope["path"].removeprefix(_UPLOADS).partition("/")[0]
        cookies = session_cookies(session)
        if cookies is None or session_secret(cookies) != session_secret(connection.cookies):
            await PlainTextResponse("", 404)(scope, receive, send)
            return
        if scope["method"] != "PUT":
            await self._app(scope, receive, send)
            return
        size = read_integer(connection.headers.get("content-length", ""), MOST_ANNOUNCED)
        if size is None:
            await PlainTextResponse("", 411)(scope, receive, send)
            return
        with self._access.uploads.reserve(session, visitor.id, size) as fits:
            if not fits:
                await PlainTextResponse("", 503, {"Retry-After": "30"})(scope, receive, send)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(UPLOAD_SECONDS):
                    await self._app(scope, receive, send)

    async def _handle_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a page talk to Streamlit for as long as the visitor's session lasts."""
        secret, address = self._access.site.secret(HTTPConnection(scope)), client_address(scope)
        visitor = None
        if scope["path"] == _STREAM:
            with suppress(PortraitError):
                visitor = await self._access.visitors.find(secret, address)
        if visitor is None or self._pages[visitor.id] >= MOST_PAGES:
            await send({"type": "websocket.close", "code": 1008})
            return
        self._pages[visitor.id] += 1
        try:
            socket = VisitorSocket(self._access.visitors, secret, receive, send)
            await socket.serve(self._app, _named(scope, visitor))
        finally:
            self._pages[visitor.id] -= 1
            if not self._pages[visitor.id]:
                del self._pages[visitor.id]

    def _turn_away(self, connection: HTTPConnection) -> Response:
        """Whoever is not signed in is led to the sign-in by a page, and refused by everything else."""
        if not _accepts_html(connection):
            return PlainTextResponse("", 401)
        response = RedirectResponse(SIGN_IN, 303)
        self._access.site.delete_cookie(response, connection, KEY_COOKIE)
        return response

    def _add_headers(self, scope: Scope, send: Send) -> Send:
        secure = self._access.site.is_secure(HTTPConnection(scope))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                headers.setdefault("Cache-Control", "no-store")
                if secure:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                    message["headers"] = [_with_secure_cookie(*each) for each in message["headers"]]
            await send(message)

        return send_with_headers


def client_address(scope: Scope) -> str:
    """The address that a request came from; uvicorn takes it from a proxy that it trusts."""
    client = scope.get("client")
    return client[0] if client else ""


def _with_secure_cookie(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A header; one that sets a cookie, as Streamlit does too, sets it for https alone."""
    is_open = name == b"set-cookie" and b"; secure" not in value.lower()
    return name, value + b"; Secure" if is_open else value


def _is_closed(path: str) -> bool:
    """Whether a path is one of Streamlit's that the pages do not need."""
    needed = path in _STREAMLIT or path.startswith(_STREAMLIT_FOLDERS)
    return path.startswith(_CLOSED_FOLDERS) and not needed


def _named(scope: Scope, visitor: Visitor) -> Scope:
    """The request with the visitor's name on it, and without one that the browser wrote."""
    name = VISITOR_HEADER.encode()
    headers = [(key, value) for key, value in Headers(scope=scope).raw if key != name]
    return {**scope, "headers": [*headers, (name, visitor.id.encode())]}


def _unanswered(connection: HTTPConnection) -> Response:
    if _accepts_html(connection):
        return RedirectResponse(SIGN_IN, 303)
    return PlainTextResponse("", 503, {"Retry-After": "5"})


def _accepts_html(connection: HTTPConnection) -> bool:
    """Whether a browser asks for a page."""
    return connection.scope["method"] in {"GET", "HEAD"} and "text/html" in connection.headers.get("accept", "")
