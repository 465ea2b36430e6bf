"""A network backend for httpcore that connects to public addresses only, against SSRF, and within a deadline.

A name can resolve to one address when it is checked and to another when it is connected to. So there is one look-up, whose
result is checked and then used; the name stays in the `Host` header and in TLS.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpcore

from portrait.errors import UserError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver: TypeAlias = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host and port."""


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet; an IPv4 address inside an IPv6 one counts for itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in ipaddress.IPv6Network("64:ff9b::/96"):  # NAT64, RFC 6052
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:  # RFC 3879 took these out of use, routers may not know
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def resolve(host: str, port: int) -> Sequence[str]:
    """Resolve a host by the system's resolver; raises `OSError`, `UnicodeError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def parse_literal(host: str) -> Address | None:
    """Parse a host that is an address, in any form that C libraries read: 127.1, 0x7f000001, 2130706433; None for a name."""
    with suppress(ValueError):
        return ipaddress.ip_address(host)
    with suppress(OSError, UnicodeError):
        return ipaddress.IPv4Address(socket.inet_aton(host))
    return None


def not_public_error() -> UserError:
    """Return the `bad_url` error for an address that is not public."""
    return UserError(
        "bad_url", "The address is not on the public internet. An operator can allow it (tasks.webhooks.private)."
    )


@dataclass(frozen=True, slots=True)
class PublicBackend(httpcore.NetworkBackend):
    """Connects to addresses that were resolved once and checked; raises `UserError` (`bad_url`) for others."""

    private: bool
    resolve: Resolver
    until: float
    """The deadline of the request, by the monotonic clock."""

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
        if not self.private and not all(is_public(ipaddress.ip_address(each)) for each in addresses):
            raise not_public_error()
        last_error: Exception = httpcore.ConnectError(f"The name {host} has no address.")
        for address in addresses:
            try:
                plain = httpcore.SyncBackend()
                stream = plain.connect_tcp(address, port, seconds_left(self.until), local_address, socket_options)
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
