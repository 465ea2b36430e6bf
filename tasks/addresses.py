"""A network backend for httpcore that connects to allowed addresses only, against SSRF, and within a deadline.

`portrait.addresses` says which are allowed. A name can resolve to one address when it is checked and to another when it is
connected to. So there is one look-up, whose result is checked and then used; the name stays in the `Host` header and in TLS.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpcore

from portrait.addresses import Address, Reach, is_public
from portrait.errors import UserError

Resolver: TypeAlias = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host and port."""


def resolve(host: str, port: int) -> Sequence[str]:
    """Resolve a host by the system's resolver; raises `OSError`, `UnicodeError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def not_public_error() -> UserError:
    """Return the `bad_url` error for an address that may not be called."""
    return UserError(
        "bad_url",
        "The address is not on the public internet, or is called without TLS. An operator can allow its network "
        "(tasks.webhooks.networks).",
    )


@dataclass(frozen=True, slots=True)
class CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that were resolved once and checked; raises `UserError` (`bad_url`) for others."""

    reach: Reach
    resolve: Resolver
    until: float
    """The deadline of the request, by the monotonic clock."""
    plain: bool = False
    """Whether the request is made by plain http."""
    called: list[Address] = field(default_factory=list)
    """Addresses that a connection was tried to."""

    @property
    def all_public(self) -> bool:
        """Whether everything that was called is on the public internet."""
        return all(is_public(each) for each in self.called)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that accepts; raises `UserError` (`bad_url`), `httpcore` errors."""
        try:
            addresses = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"The name {host} could not be looked up.") from error
        if not all(self.reach.allows(ipaddress.ip_address(each), self.plain) for each in addresses):
            raise not_public_error()
        last_error: Exception = httpcore.ConnectError(f"The name {host} has no address.")
        for address in addresses:
            self.called.append(ipaddress.ip_address(address))
            try:
                backend = httpcore.SyncBackend()
                stream = backend.connect_tcp(address, port, seconds_left(self.until), local_address, socket_options)
                return DeadlineStream(stream, self.until)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last_error = error
        raise last_error


@dataclass(frozen=True, slots=True)
class DeadlineStream(httpcore.NetworkStream):
    """A connection with a deadline: without it a receiver could send one byte at a time for ever."""

    stream: httpcore.NetworkStream
    until: float

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read before the deadline."""
        return self.stream.read(max_bytes, seconds_left(self.until))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write before the deadline."""
        self.stream.write(buffer, seconds_left(self.until))

    def close(self) -> None:
        """Close the connection."""
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Start TLS on the connection, with the same deadline."""
        return DeadlineStream(self.stream.start_tls(ssl_context, server_hostname, seconds_left(self.until)), self.until)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks about the connection."""
        return self.stream.get_extra_info(info)


def seconds_left(until: float) -> float:
    """Return the seconds until the deadline; raises `httpcore.ReadTimeout` when it is over."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise httpcore.ReadTimeout
    return seconds
