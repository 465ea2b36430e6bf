"""The client for signing in, sessions, and owners as an admin handles them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from portrait.errors import UserError
from tasks import auth, schemas
from tasks.client.client import Client
from tests.tasks.api.harness import ApiServer, api_server, environment, new_home, open_api

pytestmark = pytest.mark.services


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """An API on a port of this machine."""
    with open_api(environment(new_home(tmp_path / "home"))) as api, api_server(api) as server:
        yield server


def test_a_browser_signs_in_and_out(server: ApiServer) -> None:
    code = auth.create_code(server.api.context.ledger, "ann", "person", time.time())
    with Client(server.url) as stranger:
        assert not stranger.oidc().enabled
        opened = [stranger.open_session(code=code), *(stranger.open_session(key=server.api.key()) for _ in range(3))]
        with pytest.raises(UserError, match="not set up"):
            stranger.start_oidc("https://portraits.example.org/back")
    first, second, third, fourth = (Client(server.url, each.secret) for each in opened)
    assert [each.current for each in first.sessions()] == [False, False, False, True]
    first.end_current_session()
    second.end_session(opened[2].id)
    for ended in (first, third):
        with pytest.raises(UserError) as caught:
            ended.me()
        assert caught.value.code == "unauthenticated"
    fourth.end_all_sessions(keys=True)
    for secret in (opened[1].secret, server.api.key()):
        with Client(server.url, secret) as client, pytest.raises(UserError):
            client.me()
    for client in (first, second, third, fourth):
        client.close()


def test_an_admin_disables_and_removes(server: ApiServer) -> None:
    bobs = server.api.key("bob")
    with Client(server.url, server.api.key("root", "admin")) as admin, Client(server.url, bobs) as bob:
        assert [(each.id, each.keys) for each in admin.owners()] == [("bob", 1), ("root", 1)]
        assert admin.disable_owner("bob").disabled is not None
        with pytest.raises(UserError):
            bob.me()
        assert admin.enable_owner("bob").disabled is None
        bob.add_key(schemas.KeyRequest.model_validate({"name": "phone"}))
        assert admin.audit("key")[0].actor.startswith("bob:key_")
        assert admin.remove_owner("bob").done is not None
        assert [each.id for each in admin.owners()] == ["root"]
        assert admin.audit(actor="bob") == []
