"""Around every request: its id, one line in the log, figures, safe headers, a bound on its size, and ETags."""

import hashlib
import logging
import re
import secrets
import time
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portrait.errors import UserError
from tasks.api import problems

SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SMALL = 1_000_000
"""Bytes of a request that carries no pictures."""
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
"""What figures tell apart: anybody can invent more, and each would be a series of its own for ever."""
UPLOADS = ("/selfies", "/templates", "/operator/styles/import", "/picture")
_log = logging.getLogger("portrait.access")


@dataclass(frozen=True, slots=True)
class Figures:
    """What Prometheus is told of requests."""

    registry: CollectorRegistry
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)

    def __post_init__(self) -> None:
        names = ("method", "route", "status")
        counter = Counter("portrait_requests", "Requests answered.", names, registry=self.registry)
        seconds = Histogram("portrait_request_seconds", "Until the answer began.", names[:2], registry=self.registry)
        object.__setattr__(self, "requests", counter)
        object.__setattr__(self, "seconds", seconds)


class Around:
    """Everything that is the same for all routes."""

    def __init__(self, app: ASGIApp, figures: Figures, upload_bytes: int) -> None:
        self.app, self.figures, self.upload_bytes = app, figures, upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.monotonic()
        state = scope.setdefault("state", {})
        state["id"] = _request_id(Headers(scope=scope))
        status: int | None = None

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = state["id"]
                for name, value in SAFE.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "private, no-cache")
                self._count(scope, message["status"], time.monotonic() - began)
            await send(message)

        try:
            await self.app(scope, self._bounded(scope, receive), answered)
        except Exception as error:
            # Whatever nobody knew how to name leaves as a problem too; when the answer has begun, it can only break off.
            if status is not None:
                raise
            await problems.unexpected(Request(scope), error)(scope, receive, answered)
        finally:
            _tell(scope, status or 500, time.monotonic() - began)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Stop reading a request that is larger than it may be."""
        large = scope["method"] == "POST" and scope["path"].endswith(UPLOADS)
        most = self.upload_bytes if large else SMALL
        told = Headers(scope=scope).get("content-length", "")
        had = int(told) if re.fullmatch(r"[0-9]{1,18}", told) and int(told) > most else 0

        async def bounded() -> Message:
            nonlocal had
            message = await receive()
            had += len(message.get("body", b""))
            if had > most:
                scope["state"]["too_large"] = most
                raise UserError("too_large", f"A request has {most // 1_000_000} MB at most. Send less at once.")
            return message

        return bounded

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route, method = _route(scope), _method(scope)
        self.figures.requests.labels(method, route, str(status)).inc()
        self.figures.seconds.labels(method, route).observe(seconds)


class Tags:
    """ETags for answers in JSON; files have their own. Who asks again with `If-None-Match` gets 304 while nothing changed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("if-none-match", "")
        start: Message | None = None
        body, unchanged = bytearray(), False

        async def tagged(message: Message) -> None:
            nonlocal start, unchanged
            if message["type"] == "http.response.start":
                headers = Headers(raw=message["headers"])
                if message["status"] == 200 and headers.get("content-type") == "application/json":
                    start = message  # held back until the body is known
                    return
                if message["status"] == 200 and _same(headers.get("etag"), asked):
                    unchanged = True
                    await _send_unchanged(message, send)
                    return
                await send(message)
                return
            if unchanged:
                return
            if start is None:
                await send(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                await _send_tagged(start, bytes(body), asked, send)

        await self.app(scope, receive, tagged)


async def _send_tagged(start: Message, body: bytes, asked: str, send: Send) -> None:
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = MutableHeaders(raw=start["headers"])
    headers["ETag"] = tag
    if _same(tag, asked):
        await _send_unchanged({**start, "headers": headers.raw}, send)
        return
    await send({**start, "headers": headers.raw})
    await send({"type": "http.response.body", "body": body})


async def _send_unchanged(start: Message, send: Send) -> None:
    headers = MutableHeaders(raw=start["headers"])
    del headers["content-length"], headers["content-type"]
    await send({**start, "status": 304, "headers": headers.raw})
    await send({"type": "http.response.body", "body": b""})


def _same(tag: str | None, asked: str) -> bool:
    """Whether a tag is among those that were asked for, by the weak comparison of RFC 9110."""
    known = {each.strip().removeprefix("W/") for each in asked.split(",")}
    return tag is not None and bool(known & {tag.removeprefix("W/"), "*"})


def _request_id(headers: Headers) -> str:
    """The caller's own, if it looks like one."""
    given = headers.get("x-request-id", "")
    return given if re.fullmatch(r"[A-Za-z0-9_-]{8,64}", given) else secrets.token_hex(8)


def _route(scope: Scope) -> str:
    """The address with its names instead of ids."""
    return getattr(scope.get("route"), "path", "") or "other"


def _method(scope: Scope) -> str:
    """The method, if it is one that is known."""
    return scope["method"] if scope["method"] in METHODS else "other"


def _tell(scope: Scope, status: int, seconds: float) -> None:
    """One line: who by the id of the key, where by the route; no ids of people, no names."""
    state = scope["state"]
    _log.info(
        "%s %s %d",
        _method(scope),
        _route(scope),
        status,
        extra={
            "request": state["id"],
            "key": state.get("key", ""),
            "milliseconds": round(seconds * 1000, 1),
        },
    )
