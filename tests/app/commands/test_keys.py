"""`portrait keys` as it is typed."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from app.commands import keys as command
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

    code = run("link", "ann").stdout.strip()
    assert sign_in(ledger(), code, time.time()).row.owner == "ann"


def test_what_does_not_hold_is_said(home: Path) -> None:
    assert document("add", "ann", "--role", "king")["error"]["code"] == "bad_role"
    assert document("add", "../ann")["error"]["code"] == "bad_owner"
    assert run("list").exit_code == 0
