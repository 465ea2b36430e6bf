"""`portrait api` as a process: behind a path, by https, in several processes; and how it stops."""

import asyncio
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from tasks import auth
from tasks.api.serving.behind_proxy import RootPathMiddleware
from tasks.api.serving.server import ServerOptions, SharedPortEventLoop, _config
from tasks.api.serving.stopping import StoppingMiddleware
from tasks.ledger.ledger import open_ledger
from tasks.settings import load_installation
from tests.certificates import make_certificate
from tests.tasks.servers import free_port
from tests.tasks.stand import ROOT, empty_ledger, wait_until


def start_api(home: Path, *options: str) -> tuple["subprocess.Popen[bytes]", int]:
    port = free_port()
    (home / "ledger.db").write_bytes(empty_ledger())
    command = [sys.executable, "-m", "app", "api", "--port", str(port), *options]
    with (home / "api.log").open("ab") as log:
        environment = {**os.environ, "PORTRAIT_HOME": str(home)}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log), port


def key_of(home: Path, role: auth.Role = "person") -> str:
    """A new key of somebody's."""
    ledger = open_ledger(f"sqlite:///{home / 'ledger.db'}")
    secret = auth.create_key(ledger, "ann", "test", role, ledger.now()).secret
    ledger.close()
    return secret


@pytest.fixture
def behind_a_path(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", httpx.Client]]:
    """An API of two processes that speaks https under `/portrait`."""
    certificate, key = make_certificate(tmp_path)
    options = ("--tls-certificate", str(certificate), "--tls-key", str(key), "--root-path", "/portrait")
    process, port = start_api(tmp_path, *options, "--processes", "2")
    trusted = ssl.create_default_context(cafile=str(certificate))
    try:
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trusted, trust_env=False) as client:
            wait_until(lambda: _answers(client), what=(tmp_path / "api.log").read_text())
            client.headers["Authorization"] = f"Bearer {key_of(tmp_path)}"
            yield process, client
    finally:
        process.terminate()
        process.wait(30)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.services
def test_the_api_speaks_https_under_a_path_from_two_processes(
    behind_a_path: tuple["subprocess.Popen[bytes]", httpx.Client], tmp_path: Path
) -> None:
    process, client = behind_a_path
    for path in ("/v1/me", "/portrait/v1/me"):  # the proxy takes the path away, or leaves it
        assert client.get(path).json()["owner"] == "ann"
    operator = {"Authorization": f"Bearer {key_of(tmp_path, 'operator')}", "Connection": "close"}
    texts = [client.get("/v1/metrics", headers=operator).text for _ in range(8)]
    counts = [re.findall(r'^portrait_requests_total{.*route="/me".*} (\S+)$', text, re.M) for text in texts]
    assert counts == [["2.0"]] * 8, "whichever process answers tells of all"
    assert client.get("/portrait/v1/openapi.json").json()["servers"][0]["url"] == "/portrait"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.send_signal(signal.SIGTERM)
    process.wait(15)


def test_connections_are_spread_over_the_processes_and_answered_at_once() -> None:
    """Else one process has all of them, and a body waits until the client has acknowledged the header: 40 ms."""
    port, most, accepted = free_port(), 40, [0, 0]

    async def listen(which: int) -> list[int]:
        def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted[which] += 1
            delays.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        delays: list[int] = []
        async with await asyncio.start_server(accept, "127.0.0.1", port):
            while sum(accepted) < most:
                await asyncio.sleep(0.01)
        return delays

    def run(which: int) -> list[int]:
        with asyncio.Runner(loop_factory=SharedPortEventLoop) as runner:
            return runner.run(listen(which))

    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        runs = [pool.submit(run, which) for which in (0, 1)]
        wait_until(lambda: len(_listening(port)) == 2)
        for _ in range(most):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert [1] * most == [*runs[0].result(), *runs[1].result()]
    assert min(accepted) > most / 10, "by chance: fewer once in a million times"


def _listening(port: int) -> list[str]:
    """Sockets that listen at a port, as the kernel lists them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return [line for line in lines if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"]


@pytest.mark.services
def test_a_port_that_another_program_has_is_not_shared(tmp_path: Path) -> None:
    first, port = start_api(tmp_path, "--processes", "2")
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            wait_until(lambda: _answers(client), what=(tmp_path / "api.log").read_text())
        command = [sys.executable, "-m", "app", "api", "--port", str(port), "--processes", "2"]
        second = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PORTRAIT_HOME": str(tmp_path)}, capture_output=True
        )
        assert second.returncode != 0
        assert b"Address already in use" in second.stderr
    finally:
        first.terminate()
        first.wait(30)


def test_addresses_that_are_sent_have_the_root_path() -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (scope["path"], scope["root_path"]) == ("/v1/jobs", "/portrait")
        await send({"type": "http.response.start", "status": 202, "headers": [(b"location", b"/v1/jobs/1")]})

    async def note(message: Message) -> None:
        sent.append(message)

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    for path in ("/v1/jobs", "/portrait/v1/jobs"):
        asyncio.run(RootPathMiddleware(app, "/portrait/")({"type": "http", "path": path}, nothing, note))
    assert [message["headers"] for message in sent] == [[(b"location", b"/portrait/v1/jobs/1")]] * 2


@pytest.mark.parametrize(("path", "ends"), [("/v1/jobs/1/events", True), ("/v1/portraits/1/file", False)])
def test_streams_end_when_the_server_stops_and_downloads_go_on(path: str, ends: bool) -> None:
    heard: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(await receive())

    async def stop_amid_a_request() -> list[Message]:
        sent: list[Message] = []
        caller: asyncio.Queue[Message] = asyncio.Queue()

        async def note(message: Message) -> None:
            sent.append(message)

        middleware = StoppingMiddleware(app)
        await middleware({"type": "lifespan"}, caller.get, note)
        request = asyncio.create_task(middleware({"type": "http", "path": path}, caller.get, note))
        await asyncio.sleep(0.05)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)
        told = list(sent)
        caller.put_nowait({"type": "http.request"})
        await request
        return told

    def before(number: int, _: FrameType | None) -> None:
        heard.append(number)

    earlier = {number: signal.signal(number, before) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        told = asyncio.run(stop_amid_a_request())
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    assert told == ([{"type": "http.disconnect"}] if ends else [])
    assert heard == [signal.SIGTERM], "the server's own handler still stops it"


def test_downloads_have_the_seconds_of_the_settings(tmp_path: Path) -> None:
    environment = {"PORTRAIT_HOME": str(tmp_path), "PORTRAIT_TASKS__API__SHUTDOWN_SECONDS": "7"}
    assert _config(load_installation(environment), ServerOptions(), "app").timeout_graceful_shutdown == 7


@pytest.mark.parametrize("which", ["missing", "empty", "alone"])
def test_files_that_are_no_certificate_are_told(tmp_path: Path, which: str) -> None:
    certificate, key = make_certificate(tmp_path)
    if which == "empty":
        key.write_text("")
    options = ["--tls-certificate", str(tmp_path / "none.pem" if which == "missing" else certificate)]
    options = ["--tls-key", str(key)] if which == "alone" else [*options, "--tls-key", str(key)]
    process, _ = start_api(tmp_path, *options)
    assert process.wait(60) == 4
    assert "--tls-key" in (tmp_path / "api.log").read_text() or "PEM" in (tmp_path / "api.log").read_text()
