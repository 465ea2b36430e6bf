import ipaddress
import time

import httpcore
import pytest

from portrait.addresses import Reach, is_public
from portrait.errors import UserError
from tasks.addresses import CheckedBackend, resolve


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]
)
def test_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("0.1.2.3", "10.1.1.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.0.1", "192.0.2.1"),
        *("192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::"),
        *("2001:0:53aa:64c:0:5ef:f5ff:fffe", "2001:db8::1", "fc00::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f000001", "017700000001", "2130706433", "::1", "localhost"])
def test_however_this_machine_is_written_it_is_not_connected_to(host: str) -> None:
    with pytest.raises(UserError, match="public"):
        CheckedBackend(Reach(), resolve, time.monotonic() + 5).connect_tcp(host, 80)


def test_one_address_that_is_not_public_is_enough_to_refuse() -> None:
    with pytest.raises(UserError, match="public"):
        CheckedBackend(Reach(), lambda host, port: ["8.8.8.8", "10.0.0.1"], time.monotonic() + 5).connect_tcp(
            "a.example", 80
        )


def test_a_name_without_an_address_is_a_failed_connection() -> None:
    with pytest.raises(httpcore.ConnectError, match="no address"):
        CheckedBackend(Reach(), lambda host, port: [], time.monotonic() + 5).connect_tcp("a.example", 80)
    with pytest.raises(httpcore.ConnectError, match="looked up"):
        CheckedBackend(Reach(), resolve, time.monotonic() + 5).connect_tcp(f"{'a' * 70}.example", 80)


def test_nothing_is_connected_to_when_time_is_up() -> None:
    with pytest.raises(httpcore.ReadTimeout):
        CheckedBackend(Reach(), lambda host, port: ["8.8.8.8"], time.monotonic() - 1).connect_tcp("a.example", 80)
