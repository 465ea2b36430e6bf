"""Sends webhooks: signed, retried POST requests to addresses that owners named, by Standard Webhooks 1.0.

A delivery is written into the ledger with the end of its job; here it is sent. A sender claims it for a while, as a worker does
with a job: when the sender dies, the next one sends it under the same id, by which the receiver recognises it.

Addresses must be public or allowed, see `tasks.addresses`. Redirects are not followed and proxies not used, because either
could lead elsewhere.
"""

import base64
import ipaddress
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

from portrait.addresses import Reach, parse_literal
from portrait.errors import UserError
from tasks.addresses import CheckedBackend, Resolver, not_public_error, resolve
from tasks.ledger.rows import DeliveryRow, WebhookRow
from tasks.ledger.webhooks import WebhookRepository
from tasks.telemetry import correlation, metrics, tracing

TEST = "webhook.test"
"""The event of a call that somebody asks for to see whether it arrives; it is not tried again."""
QUEUE = "io"
"""The queue whose workers send webhooks."""
SCHEDULE = tuple(float(each) for each in (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400))
"""Seconds until the next attempt after each failed one; then it is given up. From the specification's example."""
JITTER = 0.1
"""Up to this share is added, so that deliveries which failed together are not retried together."""
TIMEOUT = 10.0
"""Seconds for one request from look-up to the last byte that is read. The system's resolver has its own timeout."""
MAX_CONCURRENT = 32
"""Requests at once …"""
MAX_PER_HOST = 16
"""… to one host, and …"""
MAX_PER_WEBHOOK = 4
"""… of one webhook: a receiver that hangs takes no more of them."""
POLL_SECONDS = 0.5
"""Seconds between two queries for due deliveries while requests are running."""
RESPONSE_BYTES = 4000
"""Bytes that are read of a response at most."""
URL_LENGTH = 2000
_log = logging.getLogger("portrait.webhooks")
_FAILED = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, ssl.SSLError, OSError, ValueError)


def new_secret() -> str:
    """Create a secret with which a receiver verifies our signatures."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def check_url(url: str, reach: Reach) -> None:
    """Check that a URL may be a webhook's; raises `UserError` (`bad_url`).

    Names are not resolved here: their addresses are checked at each request.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise UserError("bad_url", "This is not the address of a web page.") from error
    if parsed.scheme not in reach.schemes or not parsed.host:
        sentence = f"A webhook's address begins with {' or '.join(sorted(reach.schemes))}:// and names a host."
        raise UserError("bad_url", sentence)
    if parsed.userinfo or len(url) > URL_LENGTH or (parsed.port or 443) > 65535:
        sentence = f"A webhook's address has no password, a port up to 65535 and at most {URL_LENGTH} characters."
        raise UserError("bad_url", sentence)
    host = parsed.host.rstrip(".").lower()
    address = parse_literal(host)
    local = host == "localhost" or host.endswith(".localhost")
    if address is None and local:
        address = ipaddress.IPv4Address("127.0.0.1")
    if address is not None and not reach.allows(address, parsed.scheme == "http"):
        raise not_public_error()


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of one attempt."""

    status: int | None
    text: str
    """The beginning of the response, or why there is none."""

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """Sends the due deliveries of one installation."""

    webhooks: WebhookRepository
    reach: Reach = field(default_factory=Reach)
    hold: float = 60.0
    """Seconds for which a delivery is claimed; one without a result by then is sent again."""
    now: Callable[[], float] = time.time
    resolve: Resolver = resolve
    context: ssl.SSLContext = field(default_factory=httpx.create_ssl_context)

    def send_due(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Send due deliveries until there are none or `stop` says so; returns whether more may be due.

        Some are sent in any case, and requests that are running are waited for.
        """
        stopped = False
        running: dict[Future[DeliveryResult], tuple[DeliveryRow, WebhookRow]] = {}
        with ThreadPoolExecutor(MAX_CONCURRENT) as pool:
            while True:
                if not stopped:
                    for delivery in self._claim_due([hook for _, hook in running.values()]):
                        running[pool.submit(self.post, *delivery)] = delivery
                if not running:
                    return stopped
                stopped = stopped or stop()
                for done in wait(running, POLL_SECONDS, FIRST_COMPLETED).done:
                    self._record(*running.pop(done), done.result())

    def _claim_due(self, running: Sequence[WebhookRow]) -> Iterator[tuple[DeliveryRow, WebhookRow]]:
        """Claim due deliveries to send beside the running ones, first those of webhooks with the fewest."""
        if len(running) >= MAX_CONCURRENT:
            return
        now = self.now()
        waiting = dict(self.webhooks.due_webhooks(now))
        of_hook = Counter(hook.id for hook in running)
        of_host = Counter(_host(hook.url) for hook in running)
        while of_hook.total() < MAX_CONCURRENT:
            free = (
                id for id in waiting if of_hook[id] < MAX_PER_WEBHOOK and of_host[_host(waiting[id])] < MAX_PER_HOST
            )
            id = min(free, key=lambda each: of_hook[each], default=None)
            if id is None:
                return
            delivery = self.webhooks.claim_due(now, now + self.hold, id)
            if delivery is None:
                del waiting[id]
                continue
            of_hook[id] += 1
            of_host[_host(waiting[id])] += 1
            yield delivery

    def post(self, delivery: DeliveryRow, hook: WebhookRow) -> DeliveryResult:
        """Send one delivery; errors are part of the result."""
        _, traceparent = self.webhooks.origin(delivery)
        told = {"delivery": delivery.id, "webhook": hook.id, "event": delivery.event, "attempt": delivery.attempts}
        with tracing.span("webhook", traceparent, "client", told) as span:
            result = self._send(delivery, hook)
            span.set(status=result.status or 0)
            if not result.delivered:
                span.fail(str(result.status or "no_answer"))
            return result

    def _send(self, delivery: DeliveryRow, hook: WebhookRow) -> DeliveryResult:
        if hook.disabled is not None:
            return DeliveryResult(None, "The webhook is disabled.")
        if delivery.attempts > len(SCHEDULE) + 1:
            return DeliveryResult(None, "Every process that sent this ended before there was a response.")
        until = time.monotonic() + min(TIMEOUT, self.hold / 2)
        backend = CheckedBackend(self.reach, self.resolve, until, hook.url.lower().startswith("http:"))
        result = self._attempt(delivery, hook, backend)
        if backend.all_public:
            return result
        # Or a webhook would be a way to read what answers inside of the operator's network, and where.
        return DeliveryResult(result.status, "" if result.status else "The call failed.")

    def _attempt(self, delivery: DeliveryRow, hook: WebhookRow, backend: CheckedBackend) -> DeliveryResult:
        try:
            check_url(hook.url, self.reach)
            return self._post(hook.url, *sign(delivery, hook.secret, self.now()), backend)
        except UserError as error:
            return DeliveryResult(None, error.message)
        except httpcore.TimeoutException:
            return DeliveryResult(None, f"There was no answer within {TIMEOUT:.0f} seconds.")
        except _FAILED as error:
            return DeliveryResult(None, _printable(f"The call failed: {str(error) or type(error).__name__}"))

    def _post(self, url: str, headers: dict[str, str], body: bytes, backend: CheckedBackend) -> DeliveryResult:
        parsed = httpx.URL(url)
        place = httpcore.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path or b"/"
        )
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
            return DeliveryResult(response.status, _printable(_read_start(response.iter_stream())))

    def _record(self, delivery: DeliveryRow, hook: WebhookRow, result: DeliveryResult) -> None:
        now = self.now()
        again = None
        last = result.status == 410 or delivery.event == TEST or delivery.attempts > len(SCHEDULE)
        if hook.disabled is None and not last:
            again = now + SCHEDULE[delivery.attempts - 1] * (1 + SystemRandom().uniform(0, JITTER))
        # Without the URL: it may hold a key of the receiver's.
        outcome = result.status or "no answer"
        with correlation.about(request=self.webhooks.origin(delivery)[0]):
            _log.info("call %s of webhook %s, try %d: %s", delivery.id, hook.id, delivery.attempts, outcome)
        metrics.webhook_call("delivered" if result.delivered else "given_up" if again is None else "failed")
        self.webhooks.record_attempt(delivery, now, result.status, result.text, again)
        if result.status == 410:
            self.webhooks.disable(hook.id, "The receiver answered 410: it is gone.", now)


def _host(url: str) -> str:
    """Return the host of a URL in one spelling."""
    return httpx.URL(url).host.rstrip(".").lower()


def sign(delivery: DeliveryRow, secret: str, now: float) -> tuple[dict[str, str], bytes]:
    """Build the signed headers and the body of a delivery."""
    body = json.dumps(dict(delivery.payload), separators=(",", ":"), ensure_ascii=False)
    headers = {
        "content-type": "application/json",
        "user-agent": "Portrait",
        "connection": "close",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": Webhook(secret).sign(delivery.id, datetime.fromtimestamp(int(now), UTC), body),
    }
    return headers, body.encode()


def _read_start(chunks: Iterable[bytes]) -> str:
    """Read the first bytes of a response as text; errors end it, as the status counts without the rest."""
    content = b""
    with suppress(*_FAILED):
        for chunk in chunks:
            content += chunk
            if len(content) >= RESPONSE_BYTES:
                break
    return content[:RESPONSE_BYTES].decode("utf-8", "replace")


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
