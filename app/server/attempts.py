"""How often an address may be wrong: secrets that open nothing, codes that were used, sign-ins with a provider begun."""

import ipaddress
from collections import Counter
from contextlib import suppress

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

MOST = RateLimitItemPerMinute(30)
"""Attempts of one address, from which on the task API is not asked for it: it counts all visitors of the app as one address."""


MOST_AT_ONCE = 10
"""Attempts of one address that may wait for the task API."""


class Attempts:
    """Counts attempts by address."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._waiting: Counter[str] = Counter()

    def are_allowed(self, address: str) -> bool:
        """Whether an address may try once more."""
        network = _network(address)
        return self._waiting[network] < MOST_AT_ONCE and self._limiter.test(MOST, network)

    def begin(self, address: str) -> None:
        """Count an attempt of an address as waiting for the task API, until `end`."""
        self._waiting[_network(address)] += 1

    def end(self, address: str) -> None:
        """The task API has answered an attempt."""
        network = _network(address)
        self._waiting[network] -= 1
        if not self._waiting[network]:
            del self._waiting[network]

    def count(self, address: str) -> None:
        """Count an attempt."""
        self._limiter.hit(MOST, _network(address))


def _network(address: str) -> str:
    """The address, or the network of IPv6 that one customer has."""
    with suppress(ValueError):
        parsed = ipaddress.ip_address(address)
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
    return address
