"""Limits on requests, in one ASGI middleware before routing: rates, requests at once, size and time of bodies.

A caller is the hash of what they authenticate with, so that nothing has to be looked up to turn a flood away. Who has no key
that is known here counts by address, which a proxy must tell: see docs/serving.md.
"""

import hashlib
import ipaddress
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache

import anyio
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines import image_io
from portrait.errors import UserError
from tasks.api import problems
from tasks.api.admission import content_length
from tasks.api.slots import Slots
from tasks.settings import LimitSettings, TaskSettings

MAX_BODY_BYTES = 1_000_000
"""Bytes of a request that uploads no files."""
BODY_SECONDS = 60.0
"""Seconds until the body of such a request is complete."""
SLOWEST = 4_000
"""Bytes a second that a body must come with after its first `body_seconds`: a phone at the edge of its network sends more."""
KNOWN_CALLERS = 10_000
"""Callers that are remembered as having a valid key."""
EXPORTS, EXPORTS_IN_ALL = 2, 8
"""Downloads of archives at once, of one caller and of all."""
SWEEP_SECONDS = 1.0
"""Seconds between two looks for counts that are over; they last two minutes."""
ALWAYS = {"/v1/health", "/v1/ready"}
"""Paths that answer however much is going on: a supervisor asks them, and they cost nothing."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Limits of the requests of one method whose path matches."""

    method: str
    path: str
    """A regular expression for the whole path, without `/v1`."""
    slots: Slots
    body: int = 0
    """Bytes of the body; 0: as of any request."""

    def fits(self, scope: Scope) -> bool:
        """Whether a request is one of these."""
        return scope["method"] == self.method and bool(_compiled(self.path).fullmatch(scope["path"]))


@cache
def _compiled(path: str) -> re.Pattern[str]:
    return re.compile(f"/v1{path}")


def rules(tasks: TaskSettings) -> Sequence[Rule]:
    """The table of requests that have limits of their own."""
    limits, most = tasks.limits, tasks.quotas.upload_megabytes * 1_000_000
    picture = min(most, image_io.MAX_BYTES + MAX_BODY_BYTES)
    uploads = Slots("uploads", limits.uploads, limits.uploads_in_all)
    streams = Slots("streams of events", limits.streams, limits.streams_in_all)
    exports = Slots("downloads of archives", EXPORTS, EXPORTS_IN_ALL)
    verified = Slots(
        "pictures to verify", limits.uploads, limits.uploads_in_all
    )  # strangers take no place of an upload
    return (
        Rule("POST", "/people/[^/]+/selfies", uploads, most),
        Rule("POST", "/templates", uploads, picture),
        Rule("POST", "/verify", verified, picture),
        Rule("POST", "/operator/styles/import", uploads, most),
        Rule("POST", "/operator/styles/[^/]+/picture", uploads, picture),
        Rule("GET", "/jobs/[^/]+/events", streams),
        Rule("GET", "/me/export", exports),
        Rule("GET", "/portraits/zip", exports),
        Rule("GET", "/operator/style-pack", exports),
    )


class LimitMiddleware:
    """Refuses requests that are too many, too large or too slow; errors are problems."""

    def __init__(self, app: ASGIApp, tasks: TaskSettings) -> None:
        self.app, self.limits, self.rules = app, tasks.limits, rules(tasks)
        self.rates = Rates(tasks.limits)
        self.requests = Slots("requests", tasks.limits.requests, tasks.limits.requests)
        self.strangers = Slots("requests", tasks.limits.strangers, max(1, tasks.limits.requests // 2))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        rule = next((each for each in self.rules if each.fits(scope)), None)
        most = MAX_BODY_BYTES if rule is None else rule.body or MAX_BODY_BYTES
        upload = rule is not None and rule.body > 0
        seconds = self.limits.upload_seconds if upload else BODY_SECONDS
        body = Body(scope, receive, most, seconds, self.limits.body_seconds)
        if scope["path"] in ALWAYS:
            await self.app(scope, body.receive, send)
            return
        caller = _caller(scope)
        with ExitStack() as places:
            try:
                self.rates.check(caller, scope)
                if caller not in self.rates.known:
                    places.enter_context(self.strangers.take(_address(scope)))
                for slots in (self.requests, *([rule.slots] if rule is not None else [])):
                    places.enter_context(slots.take(caller or _address(scope)))
            except UserError as error:
                await problems.error_response(error, Request(scope))(scope, receive, send)
                return
            try:
                await self.app(scope, body.receive, send)
            finally:
                self.rates.note(caller, scope)


class Counts(MemoryStorage):
    """Counts in memory that are looked through for old ones once a second: the library's own start a thread a request."""

    def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802 -- the library's name
        if not self.timer.is_alive():
            expire = self._MemoryStorage__expire_events  # pyrefly: ignore[missing-attribute] -- the library's
            self.timer = threading.Timer(SWEEP_SECONDS, expire)
            self.timer.daemon = True
            self.timer.start()


class Rates:
    """Requests a minute of each caller, and of each address those without a valid key."""

    def __init__(self, limits: LimitSettings) -> None:
        self.storage = Counts()
        self._limiter = SlidingWindowCounterRateLimiter(self.storage)
        self._of_key = RateLimitItemPerMinute(limits.requests_a_minute, namespace="key")
        self._of_address = RateLimitItemPerMinute(limits.strangers_a_minute, namespace="address")
        self.known: OrderedDict[str, None] = OrderedDict()
        """Callers with a valid key, the last one last."""

    def check(self, caller: str, scope: Scope) -> None:
        """Count a request of a caller; raises `UserError` (`too_many_requests`)."""
        if caller not in self.known and not self._limiter.test(self._of_address, address := _address(scope)):
            raise self._refusal(self._of_address, address)  # before the caller is counted: made-up keys take no memory
        if caller and not self._limiter.hit(self._of_key, caller):
            raise self._refusal(self._of_key, caller)

    def note(self, caller: str, scope: Scope) -> None:
        """Count a request that was answered: remember who has a valid key, and whence one without came."""
        if not scope["state"].get("key"):
            self.known.pop(caller, None)
            self._limiter.hit(self._of_address, _address(scope))
            return
        self.known[caller] = None
        self.known.move_to_end(caller)
        if len(self.known) > KNOWN_CALLERS:
            self.known.popitem(last=False)

    def _refusal(self, item: RateLimitItem, who: str) -> UserError:
        wait = max(1, round(self._limiter.get_window_stats(item, who).reset_time - time.time()))
        sentence = f"{item.amount} requests a minute are allowed. Send fewer."
        return UserError("too_many_requests", sentence, {"retry_after": wait})


class Body:
    """The body of one request, which is neither larger nor slower than it may be."""

    def __init__(self, scope: Scope, receive: Receive, most: int, seconds: float, pause: float) -> None:
        self.scope, self.most, self.seconds, self.pause = scope, most, seconds, pause
        self._receive, self._began, self._complete = receive, 0.0, False
        self.length, self.received = content_length(Headers(scope=scope).get("content-length", "")), 0

    async def receive(self) -> Message:
        """The next message of a request; raises `UserError` (`too_large`, `too_slow`), which its state tells too."""
        if self._complete:
            return await self._receive()
        if self.length > self.most:
            raise self._too_large()
        message = await self._next()
        self.received += len(message.get("body", b""))
        self.scope["state"]["received"] = self.received
        self._complete = not message.get("more_body", False)
        if self.received > self.most:
            raise self._too_large()
        return message

    async def _next(self) -> Message:
        now = time.monotonic()
        self._began = self._began or now
        until = self._began + min(self.seconds, self.pause + self.received / SLOWEST)
        message: Message | None = None
        with anyio.move_on_after(max(0.0, min(self.pause, until - now))):
            message = await self._receive()
        if message is None:
            self.scope["state"]["too_slow"] = True
            raise UserError("too_slow", "The request did not arrive in time. Send it again.")
        return message

    def _too_large(self) -> UserError:
        self.scope["state"]["too_large"] = self.most
        return UserError("too_large", f"A request has {self.most // 1_000_000} MB at most. Send less at once.")


def _caller(scope: Scope) -> str:
    """A name for what a request authenticates with; empty where it does not."""
    secret = Headers(scope=scope).get("authorization", "").partition(" ")[2].strip()
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest() if secret else ""


def _address(scope: Scope) -> str:
    """The address of a caller; of IPv6 the network that one customer has."""
    host = str((scope.get("client") or ("",))[0])
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((int(address), 64), strict=False))
    return host
