"""What `portrait serve` says once it runs, and how its processes are started."""

import re
import sys
import time
from pathlib import Path

import pytest

from app.commands import serve
from app.terminal.sign_in_links import Listening
from tasks import auth
from tasks.ledger.ledger import open_ledger

API = "http://127.0.0.1:8000/v1"


def welcome(home: Path, host: str, url: str = "") -> str:
    ledger = open_ledger(f"sqlite:///{home / 'ledger.db'}")
    text = serve._welcome(ledger, Listening(host, 8501), url, API)
    for code in dict.fromkeys(re.findall(r"sign-in\?code=(\S+)", text)):
        assert auth.sign_in(ledger, code, time.time()).row.owner == "me", "each link has a code of its own, which opens"
    ledger.close()
    return text


def test_a_machine_of_ones_own_has_one_link(tmp_path: Path) -> None:
    for host, shown in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
        text = welcome(tmp_path, host)
        assert re.findall(r"http://\S+/sign-in(?=\?)", text) == [f"http://{shown}:8501/sign-in"]
        assert "encrypted" not in text


def test_others_in_the_network_get_a_link_and_a_warning(tmp_path: Path) -> None:
    text = welcome(tmp_path, "192.0.2.7")
    assert re.findall(r"http://\S+/sign-in(?=\?)", text) == ["http://192.0.2.7:8501/sign-in"] * 2
    assert "nothing is encrypted" in text
    assert "https" in text
    assert "█" not in text, "a log gets no picture"


def test_a_terminal_gets_a_qr_code_for_phones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert re.search("[█▀▄]{5}", welcome(tmp_path, "192.0.2.7"))
    assert not re.search("[█▀▄]{5}", welcome(tmp_path, "127.0.0.1")), "no phone reaches it"


def test_links_name_the_address_of_the_settings(tmp_path: Path) -> None:
    text = welcome(tmp_path, "::", "https://portraits.example")
    assert set(re.findall(r"http\S+/sign-in(?=\?)", text)) == {"https://portraits.example/sign-in"}
    assert "encrypted" not in text


def test_processes_are_asked_for_their_health_under_bracketed_addresses() -> None:
    urls = {each.name: each.health_url for each in serve._services("::1", 8501, 8000, 1)}
    assert urls["api"] == "http://[::1]:8000/v1/health"
    assert urls["app"] == "http://[::1]:8501/_stcore/health"
