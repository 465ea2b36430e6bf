"""An API on a port of this machine, which the app's routes ask, and somebody who has signed in there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.app.pages import app_client, open_test_api, sign_in
from tests.tasks.api.harness import ApiServer, api_server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with open_test_api(tmp_path / "home") as api, api_server(api) as server:
        monkeypatch.setenv("PORTRAIT_API_URL", server.url)
        yield server


@pytest.fixture
def visitor(server: ApiServer) -> TestClient:
    """Somebody who has signed in."""
    return sign_in(app_client(), server.api)
