"""Every route and websocket of the app, as Streamlit really serves it: without a session, with an ended one, with another's."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.app.pages import HTML, as_client, open_test_api, session_secret
from tests.tasks.api.harness import ApiServer, api_server
from tests.tasks.servers import free_port
from tests.tasks.stand import wait_until

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, sys
from app.server import sockets, visitors, web
from app.server.uploads import UploadLimits
from tasks.api.serving import connections
visitors.CHECK_INTERVAL, sockets.FAREWELL_SECONDS = 1.0, 0.3
connections.HEADER_SECONDS = 1.0
options = web.WebOptions("", "127.0.0.1", UploadLimits(30_000_000, 60_000_000), connections.TimedH11Protocol)
app = web.create_app(options)
app._starlette_app = app._build_starlette_app()  # to tell its routes
routes = [[each.path, sorted(getattr(each, "methods", None) or [])] for each in app._starlette_app.routes]
print(json.dumps(routes), flush=True)
web.create_app = lambda options: app
web.serve("127.0.0.1", int(sys.argv[1]), options)
"""
OPEN = {"/sign-in", "/sign-in/provider", "/sign-in/oidc", "/sign-out", "/sign-out/everywhere"}
OPEN |= {"/language/x", "/_stcore/health", "/verify"}
"""What answers strangers: the way in, whether it runs at all, and where a picture comes from."""
STREAM = "/_stcore/stream"


@dataclass
class Web:
    """The app's web server in a process of its own."""

    api: ApiServer
    port: int
    process: "subprocess.Popen[str]"
    routes: list[tuple[str, list[str]]]

    def client(self, secret: str = "") -> httpx.Client:
        cookies = {"portrait_key": secret} if secret else {}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", cookies=cookies, timeout=30)

    def open_page(self, secret: str = "", session: str = "") -> ClientConnection:
        """A page's websocket, as Streamlit's scripts open it; `session` is one to go on with."""
        headers = {"Cookie": f"portrait_key={secret}"} if secret else {}
        protocols = [Subprotocol(each) for each in (["streamlit", "x", session] if session else ["streamlit"])]
        address = f"ws://127.0.0.1:{self.port}{STREAM}"
        return connect(address, additional_headers=headers, subprotocols=protocols, max_size=None, close_timeout=1)

    def memory(self) -> int:
        """Megabytes of the process."""
        return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[0]) // 1024


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    port = free_port()
    with open_test_api(tmp_path_factory.mktemp("api") / "home") as api, api_server(api) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(port)],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "PORTRAIT_API_URL": server.url, "HOME": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            web = Web(server, port, process, json.loads(process.stdout.readline()))
            wait_until(lambda: _is_up(web), within=60)
            yield web
        finally:
            process.terminate()
            process.wait(20)


def _is_up(web: Web) -> bool:
    try:
        return web.client().get("/_stcore/health").status_code == 200
    except httpx.TransportError:
        return False


def test_every_route_is_closed_to_strangers(web: Web) -> None:
    ended = session_secret(web.api.api)
    web.api.api.context.ledger.sessions.end_all("ann")
    paths = {re.sub(r"{[^}]*}", "x", path) or "/any/page": methods for path, methods in web.routes}
    paths |= {"/": ["GET"], "/favicon.png": ["GET"], "/results": ["GET"]}
    assert len(paths) > 25
    assert {"/_stcore/metrics", "/_stcore/upload_file/x/x", "/_stcore/agent/interact", "/media/x"} <= paths.keys()
    for secret in ("", ended, web.api.api.key(), "ps_" + "x" * 43):
        client = web.client(secret)
        for path in paths.keys() - OPEN - {STREAM}:
            for method in {*paths[path], "GET", "POST", "PUT", "DELETE"}:
                status = client.request(method, path, content=b"x" * 1000).status_code
                assert status in ({404} if path.startswith("/static") else {401, 404}), (method, path)
        assert client.get("/results", headers=HTML).headers["location"] == "/sign-in"
        with pytest.raises(InvalidStatus, match="403"):
            web.open_page(secret)


def test_the_pages_reach_whoever_is_signed_in(web: Web) -> None:
    visitor = web.client(session_secret(web.api.api))
    page = visitor.get("/results", headers=HTML)
    assert (page.status_code, '<div id="root">' in page.text) == (200, True)
    for path in ("/_stcore/metrics", "/_stcore/agent/openapi.json", "/auth/login"):
        assert visitor.get(path).status_code == 404


def test_strangers_leave_nothing_in_memory(web: Web) -> None:
    web.client().get("/sign-in")
    before = web.memory()
    for number in range(6):
        upload = {"file": (f"{number}.jpg", bytes(20_000_000))}
        with web.client() as client:
            with suppress(httpx.WriteError):  # it does not wait for the end
                assert client.put(f"/_stcore/upload_file/x/{number}", files=upload).status_code == 401
            with suppress(httpx.WriteError):
                assert client.post("/sign-in", files=upload).status_code == 401
    assert web.memory() - before < 15


def test_pages_and_files_belong_to_one_visitor(web: Web) -> None:
    ann, ben = session_secret(web.api.api), session_secret(web.api.api, "ben")
    with web.open_page(ann) as page:
        session = draw(page)
        before = web.memory()
        assert upload(web, ben, session, "f1", 100) == 404
        assert upload(web, ann, "another", "f1", 100) == 404
        statuses = [upload(web, ann, session, f"f{number}", 10_000_000) for number in range(5)]
        assert statuses == [204, 204, 503, 503, 503], "no more than is set for one visitor"
        assert web.memory() - before < 60
        with web.open_page(ben, session) as other:
            assert draw(other) != session, "nobody goes on with another's page"
        with web.open_page(ann, session) as other:
            assert draw(other) == session


def test_nothing_of_a_photo_stays_in_memory(web: Web) -> None:
    person = as_client(web.api.api).add_person("Ann", "2026-12", "Ann").id
    with web.client(session_secret(web.api.api)) as client:
        address = f"/send/selfies/{person}"
        assert client.post(address, content=bytes(1000)).status_code == 422
        before = web.memory()
        for number in range(4):
            answer = client.post(address, content=bytes(25_000_000), headers={"x-file-name": f"{number}.jpg"})
            assert (answer.status_code, answer.json()["code"]) == (422, "unreadable")
            assert web.memory() - before < 15, "not even one of them is held whole"
        assert client.post(address, content=bytes(31_000_000)).status_code == 503, "as much as may be on its way"


def test_a_page_is_closed_within_a_minute_after_its_session_ended(web: Web) -> None:
    secret = session_secret(web.api.api)
    with web.open_page(secret) as page:
        draw(page)
        web.api.api.context.ledger.sessions.end_all("ann")
        began = time.monotonic()
        with pytest.raises(ConnectionClosed):
            drain(page)
        assert time.monotonic() - began < 10, "it is looked at each second in this test"
        with pytest.raises(InvalidStatus, match="403"):
            web.open_page(secret)


def test_a_silent_connection_is_closed_and_a_quiet_page_is_not(web: Web) -> None:
    with (
        web.open_page(session_secret(web.api.api, "ben")) as page,
        socket.create_connection(("127.0.0.1", web.port)) as silent,
    ):
        draw(page)
        silent.settimeout(10)
        assert silent.recv(1) == b"", "it was closed without a request"
        assert draw(page)


def draw(page: ClientConnection) -> str:
    """Have a page drawn to its end, and give Streamlit's name for it."""
    page.send(BackMsg(rerun_script=ClientState()).SerializeToString())
    message, session = ForwardMsg(), ""
    while message.WhichOneof("type") != "script_finished":
        content = page.recv(timeout=30)
        assert isinstance(content, bytes)
        message.ParseFromString(content)
        session = message.new_session.initialize.session_id or session
    return session


def drain(page: ClientConnection) -> None:
    """Read what a page gets until it is closed."""
    while True:
        page.recv(timeout=30)


def upload(web: Web, secret: str, session: str, file: str, size: int) -> int:
    """Put a file into a page, with the token that Streamlit's scripts send; gives the status."""
    with web.client(secret) as client:
        client.get("/_stcore/health")
        token = client.cookies.get("_streamlit_xsrf") or ""
        address = f"/_stcore/upload_file/{session}/{file}"
        content = {"file": ("a.jpg", bytes(size))}
        return client.put(address, files=content, headers={"X-Xsrftoken": token}).status_code
