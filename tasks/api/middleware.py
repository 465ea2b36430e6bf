"""ASGI middleware: request ids, the access log, metrics, security headers, and ETags."""

import hashlib
import logging
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasks.api import problems
from tasks.api.metrics import RequestMetrics
from tasks.telemetry import correlation, tracing

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_EACH = [
    (name.lower().encode(), value.encode())
    for name, value in {**SECURITY_HEADERS, "Cache-Control": "private, no-cache"}.items()
]
"""Headers that every answer has, unless it has its own, as ASGI writes them."""
KNOWN_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
"""Label values of the metrics: anybody can invent more methods, and each would be a series of its own for ever."""
UNTRACED = frozenset({"/v1/health", "/v1/ready", "/v1/metrics"})
"""What monitors ask for every few seconds."""
_log = logging.getLogger("portrait.access")


class RequestMiddleware:
    """What is the same for all routes: request id, log line, metrics, headers, and errors as problems."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope.setdefault("state", {})["id"] = _request_id(headers)
        with correlation.about(request=scope["state"]["id"]):
            if scope["path"] in UNTRACED:
                await self._handle(scope, receive, send, tracing.NOTHING)
                return
            with tracing.span(_known_method(scope), headers.get("traceparent", ""), "server") as span:
                await self._handle(scope, receive, send, span)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, span: tracing.Span) -> None:
        began = time.monotonic()
        state = scope["state"]
        status: int | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                own = {name.lower() for name, _ in headers}
                headers.append((b"x-request-id", state["id"].encode()))
                headers.extend(each for each in _EACH if each[0] not in own)
                message["headers"] = headers
                self._count(scope, message["status"], time.monotonic() - began)
                _describe(span, scope, message["status"])
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            # Unknown errors become a problem too; a response that has begun can only break off.
            if status is not None:
                raise
            await problems.unexpected_response(Request(scope), error)(scope, receive, send_with_headers)
        finally:
            _log_request(scope, status or 500, time.monotonic() - began)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route, method = _route_template(scope), _known_method(scope)
        self.metrics.requests.labels(method, route, str(status)).inc()
        self.metrics.seconds.labels(method, route).observe(seconds)


class ETagMiddleware:
    """Weak ETags for JSON responses (files have their own), and 304 for a matching `If-None-Match`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        if_none_match = Headers(scope=scope).get("if-none-match", "")
        start: Message | None = None
        body, unchanged = bytearray(), False

        async def send_tagged(message: Message) -> None:
            nonlocal start, unchanged
            if message["type"] == "http.response.start":
                headers = Headers(raw=message["headers"])
                if message["status"] == 200 and headers.get("content-type") == "application/json":
                    start = message  # held back until the body is known
                    return
                if message["status"] == 200 and _matches(headers.get("etag"), if_none_match):
                    unchanged = True
                    await _send_not_modified(message, send)
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
                await _send_with_etag(start, bytes(body), if_none_match, send)

        await self.app(scope, receive, send_tagged)


async def _send_with_etag(start: Message, body: bytes, if_none_match: str, send: Send) -> None:
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = MutableHeaders(raw=start["headers"])
    headers["ETag"] = tag
    if _matches(tag, if_none_match):
        await _send_not_modified({**start, "headers": headers.raw}, send)
        return
    await send({**start, "headers": headers.raw})
    await send({"type": "http.response.body", "body": body})


async def _send_not_modified(start: Message, send: Send) -> None:
    headers = MutableHeaders(raw=start["headers"])
    del headers["content-length"], headers["content-type"]
    await send({**start, "status": 304, "headers": headers.raw})
    await send({"type": "http.response.body", "body": b""})


def _matches(tag: str | None, if_none_match: str) -> bool:
    """Whether a tag is among those of `If-None-Match`, by the weak comparison of RFC 9110."""
    known = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return tag is not None and bool(known & {tag.removeprefix("W/"), "*"})


def _request_id(headers: Headers) -> str:
    """The caller's `X-Request-ID` where it is well-formed, else a new one."""
    given = headers.get("x-request-id", "")
    return given if correlation.REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _describe(span: tracing.Span, scope: Scope, status: int) -> None:
    """Name the span of a request by its route, as the path holds ids."""
    span.rename(f"{_known_method(scope)} {_route_template(scope)}")
    span.set(request=scope["state"]["id"], status=status)
    if status >= 500:
        span.fail(str(status))


def _route_template(scope: Scope) -> str:
    """The path template of the route, such as `/v1/jobs/{id}`."""
    return getattr(scope.get("route"), "path", "") or "other"


def _known_method(scope: Scope) -> str:
    """The method, or `other` for one that is not known."""
    return scope["method"] if scope["method"] in KNOWN_METHODS else "other"


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    """Log one line: the caller by the id of the key, the path as its template; no ids of people, no names."""
    state = scope["state"]
    _log.info(
        "%s %s %d",
        _known_method(scope),
        _route_template(scope),
        status,
        extra={
            "request": state["id"],
            "key": state.get("key", ""),
            "milliseconds": round(seconds * 1000, 1),
        },
    )
