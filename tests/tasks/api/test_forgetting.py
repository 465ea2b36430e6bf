"""What an API process keeps in memory of people goes when another process erases them."""

import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tasks import erasing
from tasks.api import app as api_app
from tasks.ledger.ledger import open_ledger
from tasks.ledger.privacy.erasures import Request
from tasks.settings import load_installation
from tests.tasks.api.harness import ApiHarness, environment, new_home
from tests.tasks.stand import wait_until


def test_thumbnails_of_what_another_process_erased_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_app, "FORGETTING_INTERVAL", 0.05)
    context = api_app.open_context(load_installation(environment(new_home(tmp_path / "home"))))
    api = ApiHarness(context)
    with TestClient(api.app):
        things = api.one_of_each()
        assert api.client().get(f"/selfies/{things.selfie}/file", params={"side": 64}).status_code == 200
        held = context.thumbnails
        assert held._cache
        other = open_ledger(context.tasks.database)
        erasure = other.erasures.erase_person(Request("ann", time.time()), things.person)
        # It is noticed although the files are still there, and they go meanwhile.
        wait_until(lambda: not held._cache, 10)
        erasing.finish_erasure(other, context.files, erasure, time.time())
        other.close()
