"""Runs the app's pages with AppTest against a real API, both in this process."""

from collections.abc import Iterator, Mapping
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
from app.server.access import AccessMiddleware
from tasks import auth
from tasks.client.client import Client
from tests.tasks.api.harness import ApiHarness, environment, new_home, open_api

_components = cache(manifest_scanner.scan_component_manifests)
"""What Streamlit looks for in every installed package, which takes longer than a page: once is enough."""
HTML = {"accept": "text/html,application/xhtml+xml"}
"""What a browser accepts that asks for a page."""
MAIN = Path(__file__).parent.parent.parent / "app" / "main.py"


@contextmanager
def open_test_api(home: Path, **tasks: Any) -> Iterator[ApiHarness]:
    """An API with its own settings, such as `quotas__jobs=1`."""
    with open_api(environment(new_home(home), **tasks)) as api:
        yield api


def as_client(api: ApiHarness, owner: str = "ann", role: auth.Role = "person", secret: str = "") -> Client:
    """The typed client on an API in this process, with a key of an owner or with that secret."""
    return Client("http://testserver", secret or api.key(owner, role), transport=InProcessTransport(api))


class InProcessTransport(httpx.BaseTransport):
    """Sends requests to an API in this process."""

    def __init__(self, api: ApiHarness) -> None:
        self._client = TestClient(api.app, raise_server_exceptions=False)
        self._client.portal = api.portal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = dict(request.headers)
        response = self._client.request(request.method, str(request.url), headers=headers, content=request.read())
        return httpx.Response(response.status_code, headers=dict(response.headers), content=response.content)


class UnreachableTransport(httpx.BaseTransport):
    """Fails every request, as an API that does not run."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)


def open_page(client: Client, page: str = "", address: Mapping[str, str] | None = None, **state: Any) -> AppTest:
    """Open a page as a new visitor, with `address` as the parameters of its address and `state` in the session."""
    app = _new_visit(client, state)
    for name, value in (address or {}).items():
        app.query_params[name] = value
    with patch.object(manifest_scanner, "scan_component_manifests", _components):
        app.run()
    return go_to_page(app, page) if page else app


def press_after_restart(app: AppTest, client: Client, label: str) -> AppTest:
    """Press the button with this label on a page of which the app's process, started anew, knows nothing."""
    [button] = [each for each in app.button if each.label == label]
    button.click()
    fresh = _new_visit(client, {})
    for name, values in app.query_params.items():
        fresh.query_params[name] = values
    fresh._page_hash = app._finished_page_script_hash
    with patch.object(manifest_scanner, "scan_component_manifests", _components):
        return fresh._run(app._tree.get_widget_states())


def _new_visit(client: Client, state: Mapping[str, Any]) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, value in {"client": client, "language": "en", **state}.items():
        app.session_state[name] = value
    return app


def go_to_page(app: AppTest, page: str) -> AppTest:
    """Go to another page. AppTest itself knows only pages that are files: ours are named by their path."""
    app._page_hash = calc_hash(page)
    return app.run()


def visible_text(app: AppTest) -> str:
    """All text of a page, and the HTML of what is HTML."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "success", "info", "warning", "error", "code")
    parts = [str(getattr(each, "value", "")) for kind in kinds for each in app.get(kind)]
    parts += [str(getattr(each, "proto", None)) for each in app.get("html")]
    parts += [each.label for each in app.button]
    parts += [str(getattr(each, "proto", None)) for each in app.get("progress")]
    return "\n".join(parts)


def press(app: AppTest, label: str) -> AppTest:
    """Press the button with this label."""
    [button] = [each for each in app.button if each.label == label]
    return button.click().run()


def app_client(url: str = "") -> TestClient:
    """A client of the app's own routes and middleware, with a plain page in place of Streamlit; `url` as in the settings."""
    page = Route("/{rest:path}", lambda _: PlainTextResponse("a page"))
    access = routes.make_access(url)
    app = Starlette(
        routes=[*routes.build_routes(access), page], middleware=[Middleware(AccessMiddleware, access=access)]
    )
    return TestClient(app, base_url=url or "http://app", follow_redirects=False)


def sign_in(client: TestClient, api: ApiHarness, owner: str = "ann", role: auth.Role = "person") -> TestClient:
    """The client, with the cookie of a session of its own."""
    client.cookies.set("portrait_key", session_secret(api, owner, role))
    return client


def session_secret(api: ApiHarness, owner: str = "ann", role: auth.Role = "person") -> str:
    """The secret of a new session."""
    context = api.context
    key, limits = api.key(owner, role), context.tasks.sessions
    return auth.open_session_with_key(context.ledger, key, limits, context.now()).secret
