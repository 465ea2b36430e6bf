"""`portrait owners` as it is typed."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.commands.accounts import owners as command
from portrait.errors import UserError
from tasks import auth
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.settings import SessionSettings, load_installation


def run(*words: str) -> Result:
    return CliRunner().invoke(command.app, list(words))


def document(*words: str) -> dict[str, Any]:
    return json.loads(run(*words, "--json").stdout)


def ledger() -> Ledger:
    return open_ledger(load_installation().tasks.database)


def opens(store: Ledger, secret: str) -> bool:
    try:
        auth.authenticate(store, f"Bearer {secret}", time.time())
    except UserError:
        return False
    return True


def test_an_owner_is_disabled_signed_out_and_removed(home: Path) -> None:
    store, now = ledger(), time.time()
    assert "no owners yet" in run("list").stdout
    key = auth.create_key(store, "ann", "k", "person", now).secret
    session = auth.open_session_with_key(store, key, SessionSettings(), now).secret
    assert [(row["id"], row["keys"], row["sessions"]) for row in document("list")["owners"]] == [("ann", 1, 1)]
    assert document("sign-out", "ann") == {"owner": "ann", "sessions": 1}
    assert (opens(store, session), opens(store, key)) == (False, True)
    assert run("disable", "ann").exit_code == 0
    assert (opens(store, key), "disabled" in run("list").stdout) == (False, True)
    assert run("enable", "ann").exit_code == 0
    assert opens(store, key)
    assert run("remove", "ann").exit_code != 0, "nobody said yes"
    assert opens(store, key)
    assert document("remove", "ann", "--yes")["done"]
    assert not opens(store, key)
    assert document("list") == {"owners": []}
    assert document("remove", "ann", "--yes")["error"]["code"] == "not_found"


def test_the_audit_log_says_what_was_done_in_the_terminal(home: Path) -> None:
    auth.create_key(ledger(), "ann", "k", "admin", time.time())
    run("disable", "ann")
    entries = document("audit")["audit"]
    assert [(each["actor"], each["action"]) for each in entries] == [
        ("system", "owner.disabled"),
        ("system", "key.created"),
    ]
    assert [each["action"] for each in document("audit", "--action", "key")["audit"]] == ["key.created"]
    assert "owner.disabled" in run("audit").stdout


@pytest.mark.parametrize("verb", ["disable", "enable", "sign-out"])
def test_who_is_no_owner_is_not_found(home: Path, verb: str) -> None:
    assert document(verb, "nobody")["error"]["code"] == "not_found"
