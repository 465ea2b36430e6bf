"""Parts of an installation call each other directly, whatever proxy the environment names for the rest of the network."""

from typing import Any

import pytest

from app import session
from app.server.supervisor import is_healthy
from tasks.client.client import Client
from tests.model_server import Server, serving

HEALTH = b'{"status": "ok"}'


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server that answers for an API, while every proxy is a port at which nobody listens."""
    for name in ("http", "https", "all"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.setenv(f"{name.upper()}_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with serving() as running:
        running.files["/v1/health"] = HEALTH
        running.files["/v1/operator/jobs/j1/log"] = b'{"items": []}'
        monkeypatch.setenv("PORTRAIT_API_URL", running.url)
        yield running


def test_programs_reach_their_api(api: Server) -> None:
    with Client(api.url, timeout=5) as client:
        assert client.health().status == "ok"
        assert client.job_log("j1") == []


def test_the_app_reaches_its_api(api: Server) -> None:
    with Client(session.api_url(), transport=session.connections()) as client:
        assert client.job_log("j1") == []


def test_the_supervisor_sees_its_servers(api: Server) -> None:
    assert is_healthy(f"{api.url}/v1/health")
