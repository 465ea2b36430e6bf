"""A network backend for httpcore that connects to allowed addresses only, against SSRF, and within a deadline.

Allowed are public addresses, by https, and networks that the operator lists, by plain http too.

A name can resolve to one address when it is checked and to another when it is connected to. So there is one look-up, whose
result is checked and then used; the name stays in the `Host` header and in TLS.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpcore

from portrait.errors import UserError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
)
"""Networks of this machine and of organisations. Link-local ones are none: clouds give out secrets there."""
Resolver: TypeAlias = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host and port."""


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet; an IPv4 address inside an IPv6 one counts for itself."""
    address = _inner(address)
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False  # RFC 3879 took these out of use, routers may not know
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _inner(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, where there is one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and address in ipaddress.IPv6Network("64:ff9b::/96"):  # NAT64, RFC 6052
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


@dataclass(frozen=True, slots=True)
class Reach:
    """Which addresses may be called."""

    networks: tuple[Network, ...] = ()
    """Networks beside the public ones."""
    plain: bool = False
    """Whether public addresses may be called by plain http."""

    @classmethod
    def of(cls, networks: Iterable[str], private: bool = False) -> "Reach":
        """What settings allow: some networks, or with `private` those of organisations, and plain http anywhere."""
        named = (*networks, *(PRIVATE_NETWORKS if private else ()))
        return cls(tuple(ipaddress.ip_network(each) for each in named), private)

    @property
    def schemes(self) -> set[str]:
        """Schemes that an address may begin with."""
        return {"http", "https"} if self.plain or self.networks else {"https"}

    def allows(self, address: Address, plain: bool) -> bool:
        """Whether an address may be called, by plain http or by https."""
        if is_public(address):
            return self.plain or not plain
        return any(_inner(address) in network for network in self.networks)


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
