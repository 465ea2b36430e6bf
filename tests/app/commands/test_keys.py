"""`portrait keys` as it is typed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.commands import keys as command
from app.terminal import sign_in_links
from tasks.auth import authenticate, sign_in
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.settings import load_installation


def run(*words: str) -> Result:
    return CliRunner().invoke(command.app, list(words))


def document(*words: str) -> dict[str, Any]:
    return json.loads(run(*words, "--json").stdout)


def ledger() -> Ledger:
    return open_ledger(load_installation().tasks.database)


def test_a_key_opens_until_it_is_revoked(home: Path) -> None:
    made = document("add", "ann", "--role", "operator")
    caller = authenticate(ledger(), f"Bearer {made['secret']}", 1.0)
    assert (caller.owner, caller.role) == ("ann", "operator")
    assert made["secret"] not in run("list").stdout
    assert [key["state"] for key in document("list")["keys"]] == ["open"]
    assert run("revoke", made["id"]).exit_code == 0
    assert [key["state"] for key in document("list")["keys"]] == ["revoked"]
    assert run("revoke", made["id"]).exit_code == 3, "it is revoked already"


def test_a_code_signs_in(home: Path) -> None:
    import time

    code = document("link", "ann")["code"]
    assert sign_in(ledger(), code, time.time()).row.owner == "ann"


def test_a_link_is_a_whole_address(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    printed = run("link", "ann")
    assert re.fullmatch(r"http://127\.0\.0\.1:8501/sign-in\?code=\S+\n", printed.stdout)
    assert "--host 0.0.0.0" in capfd.readouterr().err, "nobody else can open it"
    sign_in_links.remember(home, sign_in_links.Listening("192.0.2.7", 9000))
    printed = run("link", "ann")
    assert printed.stdout.startswith("http://192.0.2.7:9000/sign-in?code=")
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("PORTRAIT_TASKS__APP__URL", "https://portraits.example/")
    made = document("link", "ann")
    assert made["links"] == [f"https://portraits.example/sign-in?code={made['code']}"]


def test_what_does_not_hold_is_said(home: Path) -> None:
    assert document("add", "ann", "--role", "king")["error"]["code"] == "bad_role"
    assert document("add", "../ann")["error"]["code"] == "bad_owner"
    assert run("list").exit_code == 0
