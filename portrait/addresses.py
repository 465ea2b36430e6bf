"""Which addresses of the network may be called: public ones by https, and networks that an operator lists, against SSRF."""

import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

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


def parse_literal(host: str) -> Address | None:
    """Parse a host that is an address, in any form that C libraries read: 127.1, 0x7f000001, 2130706433; None for a name."""
    with suppress(ValueError):
        return ipaddress.ip_address(host)
    with suppress(OSError, UnicodeError):
        return ipaddress.IPv4Address(socket.inet_aton(host))
    return None
