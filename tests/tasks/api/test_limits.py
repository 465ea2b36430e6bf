"""Limits on requests: rates, requests at once, parts, size and time of bodies, and what is asked before a body is read."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from portrait.errors import UserError
from tasks import auth
from tasks.api import limits
from tasks.api.recent import Recent
from tasks.api.routes import jobs
from tasks.api.serving import connections
from tasks.api.slots import Slots
from tasks.settings import LimitSettings
from tests.tasks import servers
from tests.tasks.api.harness import ApiHarness, ApiServer, api_server, environment, new_home, open_api, picture
from tests.tasks.stand import wait_until

BIG = b"x" * 2_000_000


@contextmanager
def limited(home: Path, **settings: Any) -> Iterator[ApiHarness]:
    """An API with these limits."""
    with open_api(environment(new_home(home), **settings)) as api:
        yield api


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_requests_a_minute_of_a_key(tmp_path: Path) -> None:
    with limited(tmp_path, limits__requests_a_minute=5) as api:
        client = api.client()
        for _ in range(5):
            assert client.get("/me").status_code == 200
        refused = client.get("/me")
        assert code(refused) == (429, "too_many_requests")
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        spelt = api.anonymous(f"bearer   {api.key()}")
        assert code(spelt.get("/me")) == (429, "too_many_requests"), "however it is written"
        assert api.client("bob").get("/me").status_code == 200
        assert client.get("/health").status_code == client.get("/ready").status_code == 200


def test_strangers_of_an_address_are_turned_away_and_who_is_known_is_not(tmp_path: Path) -> None:
    with limited(tmp_path, limits__strangers_a_minute=6) as api:
        client = api.client()
        assert client.get("/me").status_code == 200
        for at in range(6):
            assert api.anonymous(f"Bearer pk_{at}").get("/me").status_code == 401
        assert code(api.anonymous("Bearer pk_7").get("/me")) == (429, "too_many_requests")
        assert code(api.anonymous().post("/sign-in", json={"code": "x"})) == (429, "too_many_requests")
        assert client.get("/me").status_code == 200


def test_keys_that_are_made_up_take_no_memory() -> None:
    rates = limits.Rates(LimitSettings(strangers_a_minute=10))
    for at in range(500):
        scope: dict[str, Any] = {"client": ("192.0.2.1", 1), "state": {}}
        with suppress(UserError):
            rates.check(f"made up {at}", scope)
            rates.note(f"made up {at}", scope)
    assert len(rates.storage.storage) <= 15
    for at in range(limits.KNOWN_CALLERS + 10):
        rates.note(str(at), {"client": ("192.0.2.2", 1), "state": {"key": "key_1"}})
    assert len(rates.known) == limits.KNOWN_CALLERS


def test_an_address_of_ipv6_counts_with_its_network() -> None:
    def address(host: str) -> str:
        return limits._address({"client": (host, 1)})  # the middleware has no other way to see it

    assert address("2001:db8:1:2::1") == address("2001:db8:1:2:3:4:5:6") != address("2001:db8:1:3::1")
    assert address("::ffff:192.0.2.1") != address("::ffff:192.0.2.2")


def test_so_many_at_once() -> None:
    slots = Slots("uploads", 2, 3)

    def refused(caller: str) -> str:
        with pytest.raises(UserError) as caught, slots.take(caller):
            pass
        return caught.value.code

    with slots.take("ann"):
        with slots.take("ann"):
            assert refused("ann") == "too_many_at_once"
            with slots.take("bob"):
                assert refused("cid") == "busy"
        with slots.take("ann"), slots.take("bob"):
            pass


def test_a_form_has_few_parts(api: ApiHarness) -> None:
    person, client = api.prepared_person(), api.client()
    path = f"/people/{person}/selfies"
    photo = ("files", ("me.png", picture(9)))
    for files in (
        [photo, *[("note", (None, "x" * 100)) for _ in range(30)]],
        [photo, ("note", (None, "x" * 20_000))],
        [("files", (f"{at}.png", b"x")) for at in range(120)],
    ):
        refused = client.post(path, files=files)
        assert code(refused) == (400, "bad_request"), refused.text
    assert client.post(path, files=[photo]).status_code == 201


def unread(server: ApiServer, path: str, key: str, length: int = 5_000_000) -> httpx.Response:
    """The answer to the header of an upload of which nothing else is sent."""
    boundary = "multipart/form-data; boundary=b"
    head = (
        f"POST /v1{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Type: {boundary}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(head.encode())
        lines = connection.makefile("rb")
        status = int(lines.readline().split()[1])
        headers = dict(line.decode().strip().split(": ", 1) for line in iter(lines.readline, b"\r\n"))
        return httpx.Response(status, headers=headers, content=lines.read(int(headers["content-length"])))


@pytest.mark.services
def test_permission_consent_and_quota_are_asked_before_a_body_is_read(tmp_path: Path) -> None:
    few = {"quotas__photos_a_day": 2, "quotas__templates": 1, "quotas__upload_megabytes_a_day": 6}
    with limited(tmp_path, **few) as api, api_server(api) as server:
        person, client = api.prepared_person(), api.client()
        withdrawn = api.context.ledger.people.add("ann", "Bob", "1", "Bob", time.time()).id
        client.delete(f"/people/{withdrawn}/consents")
        photos = f"/people/{person}/selfies"
        assert code(unread(server, photos, "pk_none")) == (401, "unauthenticated")
        assert code(unread(server, photos, api.key("bob"))) == (404, "not_found")
        assert code(unread(server, "/people/none/selfies", api.key())) == (404, "not_found")
        assert code(unread(server, f"/people/{withdrawn}/selfies", api.key())) == (403, "consent_withdrawn")
        assert code(unread(server, "/operator/styles/import", api.key())) == (403, "forbidden")
        assert code(unread(server, "/operator/styles/mine/picture", api.key())) == (403, "forbidden")
        assert code(unread(server, "/templates?statement=none", api.key())) == (422, "unknown_text")
        assert client.post("/templates", files={"file": ("t.png", picture(1))}).status_code == 201
        assert code(unread(server, "/templates", api.key())) == (409, "too_many_templates")
        assert client.post(photos, files=[("files", ("n.png", picture(2)))]).status_code == 201
        assert code(unread(server, photos, api.key())) == (429, "quota_photos")
        bob = api.prepared_person("bob")
        garbage = api.client("bob").post(f"/people/{bob}/selfies", files=[("files", ("x.png", BIG))])
        assert garbage.status_code == 422
        spent = unread(server, f"/people/{bob}/selfies", api.key("bob"))
        assert code(spent) == (429, "quota_bytes"), "what was refused was read, too"
        assert "3 are left" in spent.json()["detail"]


@pytest.mark.services
def test_what_is_announced_and_not_sent_is_not_charged(tmp_path: Path) -> None:
    with limited(tmp_path, limits__body_seconds=0.2) as api, api_server(api) as server:
        person = api.prepared_person()

        def charged() -> int:
            return api.context.ledger.usage.today("ann", time.time())["upload_bytes"].amount

        before = charged()
        assert code(unread(server, f"/people/{person}/selfies", api.key())) == (408, "too_slow")
        wait_until(lambda: charged() == before)
        assert code(unread(server, "/people", api.key(), 100)) == (408, "too_slow")


@contextmanager
def served(api: ApiHarness, **more: Any) -> Iterator[int]:
    """The API as it is served in earnest; gives the port."""
    port = servers.free_port()
    config = uvicorn.Config(
        api.app,
        "127.0.0.1",
        port,
        log_config=None,
        lifespan="off",
        http=connections.TimedH11Protocol,
        ws="none",
        **more,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        thread.join()


def closed_after(port: int, *pieces: bytes, pause: float = 0.1) -> float:
    """Seconds until the server closes a connection to which these pieces are sent, the last one again and again."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=0.05) as connection:
        for piece in [*pieces, *[pieces[-1]] * 100]:
            try:
                connection.sendall(piece)
                if connection.recv(4096) == b"":
                    break
            except TimeoutError:
                time.sleep(pause)
            except OSError:
                break
    return time.monotonic() - began


@pytest.mark.services
def test_a_header_that_does_not_come_closes_the_connection(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    with served(api) as port:
        assert 0.4 < closed_after(port, b"") < 3
        assert 0.4 < closed_after(port, b"GET /v1/health HTTP/1.1\r\n", b"X: y\r\n") < 3
        answered = b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n"
        assert 0.4 < closed_after(port, answered, b"GET /v1/health HTTP/1.1\r\n", b"X: y\r\n") < 3
        refused = b"POST /v1/people HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n"
        assert 0.4 < closed_after(port, refused, b"x" * 100) < 3, "nor is what follows a refused request read for ever"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1") as client:
            for _ in range(3):
                assert client.get("/health").status_code == 200
                time.sleep(0.3)


@pytest.mark.services
def test_connections_that_say_nothing_keep_nobody_out(api: ApiHarness) -> None:
    with served(api, limit_concurrency=20) as port, ExitStack() as held:
        for _ in range(60):
            silent = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            silent.sendall(b"GET /v1/health HTTP/1.1\r\n")
        for _ in range(3):
            assert httpx.get(f"http://127.0.0.1:{port}/v1/health", timeout=5).status_code == 200


@pytest.mark.services
def test_uploads_at_once_of_a_key(tmp_path: Path) -> None:
    few = {"limits__uploads": 2, "limits__uploads_in_all": 3}
    with limited(tmp_path, **few) as api, api_server(api) as server, ExitStack() as held:
        people = {owner: api.prepared_person(owner) for owner in ("ann", "bob", "cid")}

        def charged(owner: str) -> int:
            return api.context.ledger.usage.today(owner, time.time())["upload_bytes"].amount

        def begin(owner: str) -> None:
            """Begin an upload and leave it there, once it is let in."""
            before = charged(owner)
            connection = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
            head = (
                f"POST /v1/people/{people[owner]}/selfies HTTP/1.1\r\nHost: a\r\n"
                f"Authorization: Bearer {api.key(owner)}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                "Content-Length: 50\r\n\r\n"
            )
            connection.sendall(head.encode())
            wait_until(lambda: charged(owner) == before + 50)

        def upload(owner: str) -> tuple[int, str]:
            with server.client(owner) as client:
                return code(client.post(f"/people/{people[owner]}/selfies", files=[("files", ("x.png", b"x"))]))

        begin("ann")
        begin("ann")
        assert upload("ann") == (429, "too_many_at_once")
        assert upload("bob") == (422, "unreadable")
        begin("bob")
        assert upload("cid") == (503, "busy")


@pytest.mark.services
def test_streams_of_a_key_are_few_and_end_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(jobs, "KEY_SECONDS", 0.05)
    with limited(tmp_path, limits__streams=2) as api, api_server(api) as server, ExitStack() as held:
        waiting = api.one_of_each().waiting
        path = f"/jobs/{waiting}/events"
        key = auth.create_key(api.context.ledger, "ann", "phone", "person", time.time())
        client = httpx.Client(
            base_url=f"{server.url}/v1", headers={"Authorization": f"Bearer {key.secret}"}, timeout=10
        )
        held.enter_context(client)
        streams = [held.enter_context(client.stream("GET", path)) for _ in range(2)]
        lines = [stream.iter_lines() for stream in streams]
        for each in lines:
            assert "event" in next(each)
        assert code(client.get(path)) == (429, "too_many_at_once")
        auth.revoke_key(api.context.ledger, key.row.id, None, time.time())
        for each in lines:
            list(each)
        assert code(client.get(path)) == (401, "unauthenticated")
        with server.client() as other, other.stream("GET", path) as stream:
            assert stream.status_code == 200


def test_requests_at_once_leave_health_alone(tmp_path: Path) -> None:
    with limited(tmp_path, limits__requests=1) as api:
        held = threading.Event()
        client = api.client()
        begun = threading.Event()

        def hang(*_: Any) -> Any:
            begun.set()
            held.wait(10)
            raise UserError("not_found", "gone")

        slow = pytest.MonkeyPatch()
        slow.setattr(type(api.context.ledger.people), "get", hang)
        thread = threading.Thread(target=lambda: client.get("/people/person_1"))
        thread.start()
        try:
            assert begun.wait(5)
            assert code(api.client("bob").get("/me")) == (503, "busy")
            assert api.anonymous().get("/health").status_code == 200
        finally:
            held.set()
            thread.join()
            slow.undo()
        assert client.get("/me").status_code == 200


def test_strangers_at_once_leave_room_for_others(tmp_path: Path) -> None:
    with limited(tmp_path, limits__strangers=1) as api:
        client = api.client()
        assert client.get("/me").status_code == 200
        slow: Any = limits.LimitMiddleware(api.app, api.context.tasks)

        async def at_once() -> tuple[int, int]:
            """The answers to a sign-in and to somebody who is known, while another sign-in does not send its body."""
            waiting = asyncio.create_task(ask(slow, "POST", "/v1/sign-in", "", stall=1.0))
            await asyncio.sleep(0.2)
            known = await ask(slow, "GET", "/v1/me", api.key())
            refused = await ask(slow, "POST", "/v1/sign-in", "")
            await waiting
            return refused, known

        asyncio.run(ask(slow, "GET", "/v1/me", api.key()))
        assert asyncio.run(at_once()) == (429, 200)


async def ask(app: Any, method: str, path: str, key: str, stall: float = 0.0) -> int:
    """The status of one ASGI request, whose body comes after a while."""
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "headers": headers,
    }
    scope |= {"query_string": b"", "client": ("192.0.2.1", 1), "state": {"id": "x"}, "scheme": "http", "root_path": ""}
    status = 0

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(stall)
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    return status


def test_a_readiness_that_many_ask_for_is_measured_once() -> None:
    measured: list[int] = []
    release = threading.Event()

    def measure() -> int:
        measured.append(1)
        release.wait(5)
        return len(measured)

    recent: Recent[int] = Recent(0.2)
    threads = [threading.Thread(target=lambda: recent.get(measure)) for _ in range(5)]
    for thread in threads:
        thread.start()
    release.set()
    for thread in threads:
        thread.join()
    assert recent.get(measure) == len(measured) == 1
    time.sleep(0.25)
    assert recent.get(measure) == 2


def test_a_body_that_comes_too_slowly_as_a_whole() -> None:
    async def read(size: int, seconds: float, pause: float) -> int:
        async def trickle() -> dict[str, Any]:
            await asyncio.sleep(0.05)
            return {"type": "http.request", "body": bytes(size), "more_body": True}

        scope: dict[str, Any] = {"type": "http", "headers": [], "state": {}}
        body = limits.Body(scope, trickle, 10_000, seconds, pause)
        with suppress(UserError):
            while True:
                await body.receive()
        assert scope["state"]["too_slow"]
        return body.received

    assert 1 <= asyncio.run(read(1, 0.3, 5.0)) <= 6, "in all"
    assert 1 <= asyncio.run(read(1, 10.0, 0.3)) <= 7, "on average"
    assert 800 <= asyncio.run(read(400, 0.8, 0.2)) <= 6400, "as long as enough comes"
