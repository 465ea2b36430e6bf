"""The app's pages in this process, against a real API in this process: what AppTest needs for that."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from app.server import routes
from app.server.web import Gate
from tasks import auth
from tasks.client.client import Client
from tests.tasks.api.desk import Desk, desk_at, new_home, settings

_components = cache(manifest_scanner.scan_component_manifests)
"""What Streamlit looks for in every installed package, which takes longer than a page: once is enough."""
MAIN = Path(__file__).parent.parent.parent / "app" / "main.py"


@contextmanager
def office(home: Path, **tasks: Any) -> Iterator[Desk]:
    """An API with settings of its own: `quotas__jobs=1`."""
    with desk_at(settings(new_home(home), **tasks)) as desk:
        yield desk


def as_client(desk: Desk, owner: str = "ann", role: auth.Role = "person") -> Client:
    """The typed client on an API in this process."""
    return Client("http://testserver", desk.key(owner, role), transport=Inside(desk))


class Inside(httpx.BaseTransport):
    """Requests to an API in this process."""

    def __init__(self, desk: Desk) -> None:
        self._answering = TestClient(desk.app, raise_server_exceptions=False)
        self._answering.portal = desk.portal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = dict(request.headers)
        answer = self._answering.request(request.method, str(request.url), headers=headers, content=request.read())
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


class Away(httpx.BaseTransport):
    """Nobody answers."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)


def opened(client: Client, page: str = "", **state: Any) -> AppTest:
    """A page as the visitor sees it first."""
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.session_state["client"] = client
    app.session_state["language"] = "en"
    for name, value in state.items():
        app.session_state[name] = value
    with patch.object(manifest_scanner, "scan_component_manifests", _components):
        app.run()
    return turned(app, page) if page else app


def turned(app: AppTest, page: str) -> AppTest:
    """Another page. AppTest itself knows pages that are files alone: ours are named by their address."""
    app._page_hash = calc_hash(page)
    return app.run()


def words(app: AppTest) -> str:
    """Everything that can be read on a page."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "success", "info", "warning", "error", "code")
    parts = [str(getattr(each, "value", "")) for kind in kinds for each in app.get(kind)]
    parts += [str(getattr(each, "proto", None)) for each in app.get("html")]
    parts += [each.label for each in app.button]
    parts += [str(getattr(each, "proto", None)) for each in app.get("progress")]
    return "\n".join(parts)


def press(app: AppTest, label: str) -> AppTest:
    """Press the button with these words."""
    [button] = [each for each in app.button if each.label == label]
    return button.click().run()


def door() -> TestClient:
    """The app's own routes behind its gate, and a page that says so in place of Streamlit."""
    page = Route("/{rest:path}", lambda _: PlainTextResponse("a page"))
    doors = Starlette(routes=[*routes.make(), page], middleware=[Middleware(Gate)])
    return TestClient(doors, base_url="http://app", follow_redirects=False)
