"""Signed, retried calls to addresses that people named, by Standard Webhooks 1.0.

A call is written into the ledger with the end of its job; here it is made. Who makes it takes it for a while, as a worker takes
a job: one who dies leaves it to the next, under the same id, by which the receiver knows it again.

Addresses must be public, see `tasks.addresses`. Redirects are not followed and proxies not asked, because either could lead
elsewhere.
"""

import base64
import json
import logging
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import SystemRandom

import httpcore
import httpx
from standardwebhooks import Webhook

from portrait.errors import UserError
from tasks.addresses import Checked, Resolve, is_public, literal, not_public, resolve
from tasks.ledger.rows import DeliveryRow, WebhookRow
from tasks.ledger.webhooks import Hooks

QUEUE = "io"
"""Whose workers make the calls."""
SCHEDULE = tuple(float(each) for each in (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400))
"""Seconds until the next try after each failed one; then it is given up. From the specification's example."""
JITTER = 0.1
"""Up to this share is added, so that calls which failed together do not come back together."""
TIMEOUT = 10.0
"""Seconds for one call from look-up to the last byte that is read. The system's resolver keeps its own time."""
AT_ONCE = 32
"""Calls on the way at once …"""
OF_A_HOST = 16
"""… to one host, and …"""
OF_A_WEBHOOK = 4
"""… of one webhook: whoever hangs takes no more, and others go before."""
GLANCE = 0.5
"""Seconds between two looks for calls that have become due, while others are on the way."""
ANSWER_BYTES = 4000
"""Of an answer, no more is read."""
URL_LENGTH = 2000
_log = logging.getLogger(__name__)
_FAILED = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, ssl.SSLError, OSError, ValueError)


def new_secret() -> str:
    """A secret that a receiver proves our signatures with."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def check_url(url: str, private: bool) -> None:
    """Refuse an address that is never called; raises `UserError` (`bad_url`).

    Names are not looked up here: what a name means is checked at each call.
    """
    schemes = {"http", "https"} if private else {"https"}
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise UserError("bad_url", "This is not the address of a web page.") from error
    if parsed.scheme not in schemes or not parsed.host:
        raise UserError(
            "bad_url", f"A webhook's address begins with {' or '.join(sorted(schemes))}:// and names a host."
        )
    if parsed.userinfo or len(url) > URL_LENGTH or (parsed.port or 443) > 65535:
        raise UserError(
            "bad_url", f"A webhook's address has no password, a port up to 65535 and at most {URL_LENGTH} characters."
        )
    named = parsed.host.rstrip(".").lower()
    address = literal(named)
    local = named == "localhost" or named.endswith(".localhost")
    if not private and (local or (address is not None and not is_public(address))):
        raise not_public()


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one try."""

    status: int | None
    text: str
    """The beginning of the answer, or why there is none."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Makes the calls of one installation."""

    hooks: Hooks
    private: bool = False
    hold: float = 60.0
    """Seconds for which a call that was taken is nobody else's; one that is not settled by then is made again."""
    now: Callable[[], float] = time.time
    resolve: Resolve = resolve
    context: ssl.SSLContext = field(default_factory=httpx.create_ssl_context)

    def send_due(self, leave: Callable[[], bool] = lambda: False) -> bool:
        """Make the calls that are due until none is left, or until told to leave; True when more may wait.

        Some are made in any case, and those that are on the way come to their end.
        """
        left = False
        away: dict[Future[Answered], tuple[DeliveryRow, WebhookRow]] = {}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while True:
                if not left:
                    for call in self._taken([hook for _, hook in away.values()]):
                        away[pool.submit(self.post, *call)] = call
                if not away:
                    return left
                left = left or leave()
                for done in wait(away, GLANCE, FIRST_COMPLETED).done:
                    self._settle(*away.pop(done), done.result())

    def _taken(self, away: Sequence[WebhookRow]) -> Iterator[tuple[DeliveryRow, WebhookRow]]:
        """Calls to be made now, beside those that are on the way; first of webhooks that have the fewest."""
        if len(away) >= AT_ONCE:
            return
        now = self.now()
        waiting = dict(self.hooks.waiting(now))
        of_hook = Counter(hook.id for hook in away)
        of_host = Counter(_host(hook.url) for hook in away)
        while of_hook.total() < AT_ONCE:
            free = (id for id in waiting if of_hook[id] < OF_A_WEBHOOK and of_host[_host(waiting[id])] < OF_A_HOST)
            id = min(free, key=lambda each: of_hook[each], default=None)
            if id is None:
                return
            call = self.hooks.take_due(now, now + self.hold, id)
            if call is None:
                del waiting[id]
                continue
            of_hook[id] += 1
            of_host[_host(waiting[id])] += 1
            yield call

    def post(self, call: DeliveryRow, hook: WebhookRow) -> Answered:
        """Make one call."""
        if hook.disabled is not None:
            return Answered(None, "The webhook is disabled.")
        if call.attempts > len(SCHEDULE) + 1:
            return Answered(None, "Whoever made this call died each time.")
        until = time.monotonic() + min(TIMEOUT, self.hold / 2)
        try:
            check_url(hook.url, self.private)
            return self._post(hook.url, *signed(call, hook.secret, self.now()), until)
        except UserError as error:
            return Answered(None, error.message)
        except httpcore.TimeoutException:
            return Answered(None, f"There was no answer within {TIMEOUT:.0f} seconds.")
        except _FAILED as error:
            return Answered(None, _printable(f"The call failed: {str(error) or type(error).__name__}"))

    def _post(self, url: str, headers: dict[str, str], body: bytes, until: float) -> Answered:
        parsed = httpx.URL(url)
        place = httpcore.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path or b"/"
        )
        backend = Checked(self.private, self.resolve, until)
        with (
            httpcore.ConnectionPool(ssl_context=self.context, network_backend=backend) as pool,
            pool.stream(
                "POST",
                place,
                headers={"host": parsed.netloc.decode(), **headers},
                content=body,
                extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)},
            ) as response,
        ):
            return Answered(response.status, _printable(_beginning(response.iter_stream())))

    def _settle(self, call: DeliveryRow, hook: WebhookRow, answer: Answered) -> None:
        now = self.now()
        again = None
        if hook.disabled is None and answer.status != 410 and call.attempts <= len(SCHEDULE):
            again = now + SCHEDULE[call.attempts - 1] * (1 + SystemRandom().uniform(0, JITTER))
        # Not the address: it may hold a key of the receiver's.
        said = answer.status or "no answer"
        _log.info("call %s of webhook %s, try %d: %s", call.id, hook.id, call.attempts, said)
        self.hooks.settle(call, now, answer.status, answer.text, again)
        if answer.status == 410:
            self.hooks.disable(hook.id, "The receiver answered 410: it is gone.", now)


def _host(url: str) -> str:
    """Whom an address calls, however it is written."""
    return httpx.URL(url).host.rstrip(".").lower()


def signed(call: DeliveryRow, secret: str, now: float) -> tuple[dict[str, str], bytes]:
    """Headers and body of a call."""
    body = json.dumps(dict(call.payload), separators=(",", ":"), ensure_ascii=False)
    headers = {
        "content-type": "application/json",
        "user-agent": "Portrait",
        "connection": "close",
        "webhook-id": call.id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": Webhook(secret).sign(call.id, datetime.fromtimestamp(int(now), UTC), body),
    }
    return headers, body.encode()


def _beginning(chunks: Iterable[bytes]) -> str:
    """The first bytes of an answer; its status counts even when the rest does not come."""
    read = b""
    with suppress(*_FAILED):
        for chunk in chunks:
            read += chunk
            if len(read) >= ANSWER_BYTES:
                break
    return read[:ANSWER_BYTES].decode("utf-8", "replace")


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
