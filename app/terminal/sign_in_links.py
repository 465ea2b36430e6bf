"""Links that sign people in: under which addresses the app can be opened, and a link as a QR code for a phone."""

import io
import json
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

LOOPBACK = "127.0.0.1"
APP_PORT = 8501
_RECORD = "serving.json"
_ALL = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}  # noqa: S104 -- compared, not bound
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of nobody (RFC 5737, RFC 3849): asking for the way there sends nothing, and tells this machine's own address."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the app listens."""

    host: str = LOOPBACK
    port: int = APP_PORT

    @property
    def local(self) -> str:
        """The app's address on this machine."""
        return f"http://{connect_host(self.host)}:{self.port}"

    @property
    def network(self) -> list[str]:
        """The app's addresses for other devices of the network; none while it listens to this machine alone."""
        return [f"http://{bracketed(each)}:{self.port}" for each in network_addresses(self.host)]


def connect_host(host: str) -> str:
    """The host, as addresses write it, by which this machine reaches a server that listens on `host`."""
    if host in _ALL:
        return LOOPBACK if _ALL[host] == socket.AF_INET else "[::1]"
    return bracketed(host)


def bracketed(host: str) -> str:
    """A host as addresses write it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def network_addresses(host: str) -> list[str]:
    """This machine's addresses by which others reach a server that listens on `host`."""
    if host not in _ALL:
        return [] if _is_loopback(host) else [host]
    family, found = _ALL[host], []
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((_ELSEWHERE[family], 9))
        found.append(probe.getsockname()[0])
    with suppress(OSError):
        names = socket.getaddrinfo(socket.gethostname(), None, family)
        found += [str(address[0]) for *_, address in names]
    return [each for each in dict.fromkeys(found) if not _is_loopback(each) and "%" not in each]


def sign_in_link(address: str, code: str) -> str:
    """The address of the page that takes a one-time code."""
    return f"{address.rstrip('/')}/sign-in?code={quote(code)}"


def qr_code(text: str) -> str:
    """A QR code in half blocks, for a terminal with a dark or a light background."""
    import segno

    drawn = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(drawn, border=2, compact=True)
    return drawn.getvalue()


def remember(home: Path, listening: Listening) -> None:
    """Store where the app listens, for links that are made while it runs."""
    (home / _RECORD).write_text(json.dumps(asdict(listening)), "utf-8")


def forget(home: Path) -> None:
    """The app does not listen any more."""
    (home / _RECORD).unlink(missing_ok=True)


def recall(home: Path) -> Listening:
    """Where the app listens, or else where it would by default."""
    try:
        record = json.loads((home / _RECORD).read_text("utf-8"))
        return Listening(str(record["host"]), int(record["port"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Listening()


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")
