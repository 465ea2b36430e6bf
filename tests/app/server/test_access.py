"""The middleware before everything the app serves, with a small app in place of Streamlit and visitors that the test names."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit.proto.BackMsg_pb2 import BackMsg

from app.server import access, sockets
from app.server.access import Access, AccessMiddleware
from app.server.attempts import Attempts
from app.server.site import Site
from app.server.uploads import UploadLimits, Uploads
from app.server.visitors import Visitors
from portrait.errors import OperatorError, UserError
from tasks import schemas
from tests.app.pages import HTML

ANN, BEN = "ps_" + "a" * 43, "ps_" + "b" * 43
STREAM, UPLOAD = "/_stcore/stream", "/_stcore/upload_file/page-of-ann/f1"
CLOSED = (
    *("/_stcore/metrics", "/_stcore/agent/interact", "/_stcore/agent/openapi.json", "/_stcore/agent/mcp"),
    *("/_stcore/script-health-check", "/auth/login", "/auth/logout", "/oauth2callback", "/component/x/index.html"),
)
PRIVATE = (
    *(
        "/results",
        "/_stcore/host-config",
        "/media/x.png",
        "/picture/selfie/selfie_1",
        "/take/export.zip",
        "/favicon.png",
    ),
    *("/sign-in/other", "/results/_stcore/health", "//sign-in", "/_stcore/bidi-components/x"),
)


class Web:
    """The middleware before a small app that says what reached it."""

    def __init__(self, url: str = "", limits: UploadLimits | None = None) -> None:
        self.owners = {ANN: "ann", BEN: "ben"}
        self.away = False
        self.reached: list[str] = []
        self.held: dict[str, int] = {}
        self.url = url
        attempts = Attempts()
        self.visitors = Visitors(self._fetch, attempts)
        asked = Access(Site(url), self.visitors, attempts, Uploads(limits or UploadLimits(), lambda: self.held))
        methods = ["GET", "PUT", "DELETE", "POST", "OPTIONS"]
        pages = [WebSocketRoute(STREAM, self._stream), Route("/{rest:path}", self._page, methods=methods)]
        self.app = Starlette(routes=pages, middleware=[Middleware(AccessMiddleware, access=asked)])

    def client(self, secret: str = "", name: str = "portrait_key") -> TestClient:
        client = TestClient(self.app, base_url=self.url or "http://app", follow_redirects=False)
        if secret:
            client.cookies.set(name, secret)
        return client

    def _fetch(self, secret: str, idle: bool) -> schemas.Me:
        if self.away:
            raise OperatorError("api_unreachable", "No.")
        if secret not in self.owners:
            raise UserError("unauthenticated", "No.", {"status": 401})
        return schemas.Me.model_construct(owner=self.owners[secret], role="person")  # pyrefly: ignore[missing-argument] -- as it says

    async def _page(self, request: Request) -> PlainTextResponse:
        size = len(await request.body())
        self.reached.append(request.url.path)
        if request.method == "PUT":
            self.held["page-of-ann"] = self.held.get("page-of-ann", 0) + size
        names = ",".join(request.headers.getlist("x-portrait-visitor"))
        return PlainTextResponse(names, headers={"set-cookie": "of_streamlit=1; Path=/"})

    async def _stream(self, socket: WebSocket) -> None:
        self.reached.append(STREAM)
        await socket.accept()
        try:
            while True:
                await socket.send_bytes(await socket.receive_bytes())
        except WebSocketDisconnect:
            self.reached.append("left")


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    cookies = {"page-of-ann": {"portrait_key": ANN}}
    monkeypatch.setattr(access, "session_cookies", cookies.get)
    monkeypatch.setattr(sockets, "FAREWELL_SECONDS", 0.05)
    return Web()


@contextmanager
def open_page(client: TestClient, **headers: str) -> Iterator[Any]:
    with client.websocket_connect(STREAM, headers=headers) as socket:
        yield socket


@pytest.mark.parametrize("secret", ["", "pk_" + "a" * 43, "ps_" + "x" * 43, "nonsense"])
def test_nothing_is_open_to_strangers_but_the_sign_in(web: Web, secret: str) -> None:
    stranger = web.client(secret)
    for path in (*PRIVATE, UPLOAD):
        for method in ("GET", "PUT", "DELETE", "POST", "OPTIONS", "HEAD"):
            assert stranger.request(method, path, content=b"x" * 100).status_code == 401, (method, path)
    page = stranger.get("/results", headers=HTML)
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in")
    with pytest.raises(WebSocketDisconnect), open_page(stranger):
        pass
    assert web.reached == []
    for path in ("/sign-in", "/sign-in/oidc", "/sign-out", "/language/zh", "/static/js/index.js", "/_stcore/health"):
        assert stranger.get(path).status_code == 200


def test_an_ended_session_is_a_strangers(web: Web) -> None:
    del web.owners[ANN]
    ann = web.client(ANN)
    assert ann.get("/results").status_code == 401
    page = ann.get("/results", headers=HTML)
    assert 'portrait_key=""' in page.headers["set-cookie"]
    with pytest.raises(WebSocketDisconnect), open_page(ann):
        pass
    assert web.reached == []


def test_routes_that_no_page_needs_are_closed_for_all(web: Web) -> None:
    for client in (web.client(), web.client(ANN)):
        for path in CLOSED:
            for method in ("GET", "POST", "OPTIONS"):
                assert client.request(method, path).status_code == 404, path
    assert web.reached == []


def test_visitors_reach_the_app_under_their_own_name(web: Web) -> None:
    ann, ben = web.client(ANN), web.client(BEN)
    forged = ann.get("/results", headers={"x-portrait-visitor": "ben"}).text
    assert forged == ann.get("/results").text
    assert len(forged) == 64
    assert forged != ben.get("/results").text


def test_a_page_is_closed_when_its_session_ends(web: Web) -> None:
    client = web.client(ANN)
    with client, open_page(client) as page:
        page.send_bytes(b"hello")
        assert page.receive_bytes() == b"hello"
        del web.owners[ANN]
        assert client.portal is not None
        client.portal.call(asyncio.sleep, 0)
        client.portal.call(web.visitors.forget, "ann")
        last = BackMsg()
        last.ParseFromString(page.receive_bytes())
        assert last.WhichOneof("type") == "rerun_script", "the page is drawn once more, and says so"
        page.send_bytes(b"more")
        with pytest.raises(WebSocketDisconnect):
            page.receive_bytes()
    assert web.reached == [STREAM, "left"]


def test_a_page_stays_while_the_api_does_not_answer(web: Web) -> None:
    client = web.client(ANN)
    with client, open_page(client) as page:
        web.away = True
        assert client.portal is not None
        client.portal.call(web.visitors.forget, "ann")
        page.send_bytes(b"hello")
        assert page.receive_bytes() == b"hello"
        page.close()


def test_open_pages_of_a_session_are_bounded(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_PAGES", 2)
    client = web.client(ANN)
    with client, open_page(client), open_page(client):
        with pytest.raises(WebSocketDisconnect), open_page(client):
            pass
        with open_page(web.client(BEN)):
            pass


def test_files_go_into_pages_of_ones_own_alone(web: Web) -> None:
    assert web.client(BEN).put(UPLOAD, content=b"x").status_code == 404
    assert web.client(BEN).delete(UPLOAD).status_code == 404
    assert web.client(ANN).put("/_stcore/upload_file/another/f1", content=b"x").status_code == 404
    assert web.reached == []
    assert web.client(ANN).put(UPLOAD, content=b"x").status_code == 200


def test_uploads_are_bounded_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "session_cookies", {"page-of-ann": {"portrait_key": ANN}}.get)
    web = Web(limits=UploadLimits(visitor=1000, all=1500))
    ann = web.client(ANN)
    statuses = [ann.put(UPLOAD, content=b"x" * 400).status_code for _ in range(4)]
    assert statuses == [200, 200, 503, 503]
    assert sum(web.held.values()) == 800
    assert ann.put(UPLOAD, content=iter([b"x"])).status_code == 411, "whoever does not say how much sends nothing"
    web.held.clear()
    assert ann.put(UPLOAD, content=b"x" * 400).status_code == 200, "what was taken on makes room"
    web.held["page-of-ben"] = 1200
    assert ann.put(UPLOAD, content=b"x" * 400).status_code == 503, "all together are bounded too"


def test_an_api_that_does_not_answer_lets_nobody_new_in(web: Web) -> None:
    web.away = True
    ann = web.client(ANN)
    assert ann.get("/results").status_code == 503
    page = ann.get("/results", headers=HTML)
    assert (page.status_code, "set-cookie" in page.headers) == (303, False)
    assert web.reached == []


def test_every_response_has_security_headers(web: Web) -> None:
    for client, path in ((web.client(), "/sign-in"), (web.client(), "/picture/style/x"), (web.client(ANN), "/")):
        headers = client.get(path, headers=HTML).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        policy = dict(each.split(" ", 1) for each in headers["content-security-policy"].split("; "))
        assert "'unsafe-inline'" not in policy["script-src"]
        assert "unsafe-eval" not in policy["script-src"]
        assert (policy["default-src"], policy["frame-ancestors"]) == ("'self'", "'self'")
        assert "strict-transport-security" not in headers


def test_over_https_only_a_cookie_of_this_very_host_counts() -> None:
    web = Web("https://portraits.example")
    assert web.client(ANN).get("/results").status_code == 401, "a neighbour may have set this one"
    visitor = web.client(ANN, "__Host-portrait_key")
    response = visitor.get("/results")
    assert (response.status_code, response.headers["strict-transport-security"]) == (200, "max-age=31536000")
    assert response.headers["set-cookie"] == "of_streamlit=1; Path=/; Secure"
