"""Downloads one file by HTTP: resumes, tries again, and can be held to a size and to public addresses."""

import contextlib
import ipaddress
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from portrait.addresses import Address, Reach, parse_literal

if TYPE_CHECKING:
    import httpx

CHUNK_BYTES = 1 << 18
MAX_ATTEMPTS = 4
"""Tries within one pull when connections break or a server is busy; the next pull resumes where this one gave up."""
BUSY = {429, 500, 502, 503, 504}
BUSY_SECONDS, MAX_BUSY_SECONDS = 1.0, 30.0
"""Seconds before a busy server is asked again, doubled each time, where it does not say itself; and the most."""

PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
"""How addresses of proxies begin that can be used."""

ReportBytes = Callable[[int, int], None]
"""Takes (bytes received, bytes in total or 0 when unknown); raises to stop the download."""


class SourceFailedError(Exception):
    """Raised when one source did not give the file; another may."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ForbiddenAddressError(Exception):
    """Raised for an address that may not be called."""


class _TryAgainError(Exception):
    """Raised when the same address is to be asked again, after some seconds."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """What a download from an address that somebody named is held to."""

    reach: Reach
    """The addresses that may be called, also by redirects."""
    most_bytes: int


@dataclass(slots=True)
class _Transfer:
    """One file on its way: the finished part of it, and the note of what that is a part of."""

    url: str
    part_file: Path
    note_file: Path
    report: ReportBytes
    limits: Limits | None
    headers: Mapping[str, str]
    received: int = field(default=0)
    total: int = field(default=0)

    def finish(self, target: Path) -> None:
        """Give the whole file its name; until then it is a part, whose note says how long the whole is."""
        self.part_file.replace(target)
        self.note_file.unlink(missing_ok=True)

    def pause(self, seconds: float) -> None:
        """Wait; the caller may stop the download meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.report(self.received, self.total)
            time.sleep(min(left, 0.25))


def download_url(
    url: str,
    target: Path,
    report: ReportBytes,
    headers: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> None:
    """Download a URL to a file; resumes what an earlier try left, if the server confirms that it is still the same file.

    Raises `SourceFailedError` (`no_network`, `download_failed`, `forbidden_address`, `model_too_large`).
    """
    import httpx

    part_file, note_file = target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json")
    transfer = _Transfer(url, part_file, note_file, report, limits, headers or {})
    check_proxies()
    if _is_complete(transfer):
        transfer.finish(target)
        return
    broken, wait = "", 0.0
    for attempt in range(MAX_ATTEMPTS):
        transfer.pause(wait)
        try:
            with _client(limits) as client:
                _stream(client, transfer)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            way = proxy_of(url)
            raise SourceFailedError("no_network", f"cannot be reached{way or '; HTTPS_PROXY names a proxy'}") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise SourceFailedError("download_failed", f"is not an address to fetch from ({error})") from error
        except _TryAgainError as error:
            broken, wait = str(error), min(error.seconds or BUSY_SECONDS * 2**attempt, MAX_BUSY_SECONDS)
            continue
        except httpx.HTTPError as error:
            broken, wait = str(error) or type(error).__name__, 0.25 * (attempt + 1)
            continue
        transfer.finish(target)
        return
    raise SourceFailedError(
        "download_failed", f"broke off {MAX_ATTEMPTS} times ({broken}); the next pull goes on from there"
    )


def check_proxies() -> None:
    """Raise `SourceFailedError` (`no_network`) where the environment names a proxy that cannot be used."""
    import httpx

    for scheme, address in getproxies().items():
        if scheme not in ("http", "https", "all"):
            continue
        try:
            known = httpx.URL(address if "://" in address else f"http://{address}").scheme in PROXY_SCHEMES
        except httpx.InvalidURL:
            known = False
        if not known:
            forms = ", ".join(f"{each}://" for each in PROXY_SCHEMES)
            why = f"is not asked: {scheme.upper()}_PROXY is no address of a proxy; they begin with {forms}"
            raise SourceFailedError("no_network", why)


def proxy_of(url: str) -> str:
    """By which setting of the environment an address is asked through a proxy, for a sentence; empty where none is."""
    proxies, parts = getproxies(), urlsplit(url)
    setting = next((each for each in (parts.scheme, "all") if proxies.get(each)), "")
    if not setting or proxy_bypass(parts.hostname or ""):
        return ""
    return f" through the proxy of {setting.upper()}_PROXY (NO_PROXY names hosts that are asked without)"


@contextlib.contextmanager
def _client(limits: Limits | None) -> "Iterator[httpx.Client]":
    """A client that follows redirects, with `limits` to allowed addresses alone."""
    import httpx

    timeout = httpx.Timeout(30, connect=10)
    if limits is None:
        with httpx.Client(follow_redirects=True, timeout=timeout) as client:
            yield client
        return

    def check(request: httpx.Request) -> None:
        _check_address(request.url, limits.reach)

    try:
        with httpx.Client(
            follow_redirects=True, timeout=timeout, mounts=_mounts(limits.reach), event_hooks={"request": [check]}
        ) as client:
            yield client
    except ForbiddenAddressError as error:
        where = (
            "leads to an address that is not on the public internet, or without TLS; an operator can allow its network"
        )
        raise SourceFailedError("forbidden_address", f"{where} (models.networks)") from error


def _mounts(reach: Reach) -> "dict[str, httpx.BaseTransport]":
    """Transports that check the very address that they connect to, but for schemes that a proxy serves: it connects itself."""
    proxies = getproxies()
    schemes = [each for each in ("http", "https") if not proxies.get(each) and not proxies.get("all")]
    return {f"{scheme}://": _checked_transport(reach, plain=scheme == "http") for scheme in schemes}


def _checked_transport(reach: Reach, plain: bool) -> "httpx.BaseTransport":
    """A transport with one look-up of a name, whose result is checked and then connected to."""
    import httpcore
    import httpx

    class CheckedBackend(httpcore.SyncBackend):
        def connect_tcp(self, host: str, port: int, *options: Any, **more: Any) -> httpcore.NetworkStream:
            addresses = _resolve(host, port)
            if not all(reach.allows(each, plain) for each in addresses):
                raise ForbiddenAddressError
            last_error: Exception = httpcore.ConnectError(f"The name {host} could not be looked up.")
            for address in addresses:
                try:
                    return super().connect_tcp(str(address), port, *options, **more)
                except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                    last_error = error
            raise last_error

    class CheckedTransport(httpx.HTTPTransport):
        def __init__(self) -> None:
            super().__init__()
            tls = httpx.create_ssl_context()
            self._pool = httpcore.ConnectionPool(ssl_context=tls, network_backend=CheckedBackend())

    return CheckedTransport()


def _check_address(url: "httpx.URL", reach: Reach) -> None:
    """Raise `ForbiddenAddressError` for an address that may not be called, before anything is sent there.

    A name that cannot be looked up passes: where a proxy connects, only the proxy may know it.
    """
    literal = parse_literal(url.host)
    addresses = [literal] if literal else _resolve(url.host, url.port or 443)
    if url.scheme not in reach.schemes or not all(reach.allows(each, url.scheme == "http") for each in addresses):
        raise ForbiddenAddressError


def _resolve(host: str, port: int) -> list[Address]:
    """Look a name up; empty where that fails."""
    with contextlib.suppress(OSError, UnicodeError):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [ipaddress.ip_address(each) for each in dict.fromkeys(str(each[4][0]) for each in found)]
    return []


def _stream(client: "httpx.Client", transfer: _Transfer) -> None:
    start, validator = _resumable(transfer)
    headers = {**transfer.headers, "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    with client.stream("GET", transfer.url, headers=headers) as response:
        if response.status_code == 416 and response.headers.get("content-range", "") == f"bytes */{start}":
            return  # the part is the whole, and only its new name is missing
        start = _check_answer(response, start, transfer)
        transfer.total = start + int(response.headers.get("content-length") or 0)
        _check_size(transfer, transfer.total)
        whole = transfer.total if "content-length" in response.headers else 0
        note = json.dumps({"url": transfer.url, "validator": _validator(response), "bytes": whole})
        transfer.note_file.write_text(note, "utf-8")
        with transfer.part_file.open("ab" if start else "wb") as out:
            transfer.received = start
            transfer.report(start, transfer.total)
            for chunk in response.iter_bytes():  # as they arrive: when the line breaks, all that came is kept
                out.write(chunk)
                transfer.received += len(chunk)
                _check_size(transfer, transfer.received)
                transfer.report(transfer.received, transfer.total)


def _check_answer(response: "httpx.Response", start: int, transfer: _Transfer) -> int:
    """Return the offset that the body begins at; raises `SourceFailedError`, and what has the address asked again."""
    import httpx

    status = response.status_code
    if status in BUSY:
        wait = response.headers.get("retry-after", "")
        raise _TryAgainError(f"it answered {status}", _seconds(wait))
    if status == 416:
        transfer.part_file.unlink(missing_ok=True)
        raise httpx.RemoteProtocolError("the server refused to go on")
    if status not in (200, 206):
        raise SourceFailedError("download_failed", f"answered {status}")
    if status == 206 and not response.headers.get("content-range", "").startswith(f"bytes {start}-"):
        transfer.part_file.unlink(missing_ok=True)
        raise httpx.RemoteProtocolError("the server sent another part than was asked for")
    return start if status == 206 else 0


def _seconds(retry_after: str) -> float:
    """The seconds of a `Retry-After`, which says them or a time of day; 0 where it says neither."""
    if retry_after.isdecimal():
        return float(retry_after)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0.0


def _validator(response: "httpx.Response") -> str:
    """The tag or date by which the server knows these bytes; empty where it has none."""
    if "content-encoding" in response.headers:
        return ""  # the offsets of a range would not be those of the file
    etag = response.headers.get("etag", "")
    # A weak tag does not promise the same bytes.
    return etag if etag and not etag.startswith("W/") else response.headers.get("last-modified", "")


def _check_size(transfer: _Transfer, size: int) -> None:
    limits = transfer.limits
    if limits is not None and size > limits.most_bytes:
        most = f"{limits.most_bytes / 1e9:g} GB are the most (models.max_gigabytes)"
        raise SourceFailedError("model_too_large", f"is {size / 1e9:.2f} GB large, and {most}")


def _resumable(transfer: _Transfer) -> tuple[int, str]:
    """Return the bytes of this file that were received before, and its ETag or date; (0, "") to start again."""
    note, received = _read_note(transfer)
    validator = str(note.get("validator") or "")
    return (received, validator) if validator else (0, "")


def _is_complete(transfer: _Transfer) -> bool:
    """Whether all of the file came before, and only its name is missing: the program ended just then.

    Without a tag or date it is fetched again: nobody could say whether two beginnings were joined in it.
    """
    note, received = _read_note(transfer)
    return bool(note.get("validator")) and received > 0 and note.get("bytes") == received


def _read_note(transfer: _Transfer) -> tuple[dict[str, Any], int]:
    """Return what is noted of the part of this very file, and the bytes of the part; ({}, 0) where there is none."""
    try:
        note: Any = json.loads(transfer.note_file.read_text("utf-8"))
        received = transfer.part_file.stat().st_size
    except (OSError, ValueError):
        return {}, 0
    return (note, received) if isinstance(note, dict) and note.get("url") == transfer.url else ({}, 0)
