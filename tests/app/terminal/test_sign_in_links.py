"""Addresses of the app and links that sign in, as the terminal prints them."""

import socket
from pathlib import Path

import pytest

from app.terminal import sign_in_links
from app.terminal.sign_in_links import Listening, connect_host, network_addresses, qr_code, recall, sign_in_link

ALL = "0.0.0.0"  # noqa: S104 -- nothing is bound


def test_addresses_of_this_machine_by_what_is_listened_on() -> None:
    hosts = ("127.0.0.1", "localhost", ALL, "::", "::1", "192.0.2.7", "2001:db8::7")
    assert [connect_host(host) for host in hosts] == [
        *("127.0.0.1", "localhost", "127.0.0.1", "[::1]", "[::1]", "192.0.2.7", "[2001:db8::7]"),
    ]
    assert Listening("::1", 80).local == "http://[::1]:80"


def test_only_what_listens_to_others_has_addresses_in_the_network() -> None:
    for host in ("127.0.0.1", "127.0.0.9", "localhost", "::1"):
        assert network_addresses(host) == []
    assert Listening("192.0.2.7", 8501).network == ["http://192.0.2.7:8501"]
    assert Listening("2001:db8::7", 8501).network == ["http://[2001:db8::7]:8501"]


def test_all_addresses_are_the_ones_by_which_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    def addresses(*_: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (each, 0)) for each in ("127.0.1.1", "192.168.1.9", "192.168.1.9")]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    found = network_addresses(ALL)
    assert "192.168.1.9" in found
    assert len(found) == len(set(found))
    assert not any(each.startswith("127.") for each in found)


def test_a_link_holds_the_code_and_its_qr_code_the_link() -> None:
    link = sign_in_link("https://portraits.example/", "a-b_c")
    assert link == "https://portraits.example/sign-in?code=a-b_c"
    lines = qr_code(link).splitlines()
    assert 10 < len(lines) < 40, "it fits a terminal"
    assert qr_code(link) != qr_code(link + "d")


def test_where_the_app_listens_is_remembered_while_it_does(tmp_path: Path) -> None:
    assert recall(tmp_path) == Listening()
    sign_in_links.remember(tmp_path, Listening(ALL, 9000))
    assert recall(tmp_path) == Listening(ALL, 9000)
    (tmp_path / "serving.json").write_text("[]")
    assert recall(tmp_path) == Listening()
    sign_in_links.forget(tmp_path)
    sign_in_links.forget(tmp_path)
    assert recall(tmp_path) == Listening()
