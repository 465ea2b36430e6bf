"""Middleware: security headers, request ids, a log without personal data, and metrics."""

import logging
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from tasks.ledger.jobs import JobRepository
from tasks.ledger.people import PersonRepository
from tasks.logs import Formatter
from tests.tasks.api.harness import ApiHarness, picture
from tests.tasks.api.routes import request_body, routes, url_of

SAFE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What the process would write to its log."""
    output, root = StringIO(), logging.getLogger()
    handler = logging.StreamHandler(output)
    handler.addFilter(lambda record: not record.name.startswith("httpx"))  # the test's own caller
    handler.setFormatter(Formatter("%(levelname)s %(name)s %(message)s"))
    root.addHandler(handler)
    level = root.level
    root.setLevel("INFO")
    yield output
    root.setLevel(level)
    root.removeHandler(handler)


def safe(answer: Any) -> None:
    for name, value in SAFE.items():
        assert answer.headers[name] == value, (answer.url, name)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
    assert "no-store" in answer.headers["cache-control"] or "private" in answer.headers["cache-control"]
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert "server" not in answer.headers


def test_every_kind_of_answer_has_safe_headers(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    things, client = api.one_of_each(), api.client()
    client.headers["Origin"] = "https://evil.example"
    file, ended = f"/portraits/{things.portrait}/file", f"/jobs/{things.drawn}/events"
    answers = {
        200: client.get("/me"),
        201: client.post("/keys", json={"name": "k"}),
        202: client.post(f"/jobs/{things.waiting}/cancel"),
        204: client.delete(f"/templates/{things.template}"),
        206: client.get(file, headers={"Range": "bytes=0-9"}),
        304: client.get("/me", headers={"If-None-Match": "*"}),
        401: api.anonymous().get("/me"),
        403: client.get("/metrics"),
        404: client.get("/nothing"),
        405: client.put("/me"),
        409: client.post(f"/jobs/{things.drawn}/cancel"),
        410: client.get(f"/templates/{things.template}"),
        413: client.post("/people", content=b"x" * 1_000_001),
        416: client.get(file, headers={"Range": "bytes=99999-"}),
        422: client.post("/people", json={}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        safe(answer)
    for path in (file, f"{file}?side=64", ended, "/me/export", "/portraits/zip", "/openapi.json", "/health", "/styles"):
        assert client.get(path).status_code == 200
        safe(client.get(path))
    monkeypatch.setattr(PersonRepository, "list", lambda *_: 1 / 0)  # pyrefly: ignore[division-by-zero] -- a fault
    answer = client.get("/people")
    assert answer.status_code == 500
    safe(answer)


def test_no_cors_headers_are_sent(api: ApiHarness) -> None:
    sent = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = api.anonymous().options("/people", headers=sent)
    assert answer.status_code == 405
    safe(answer)


def test_a_well_formed_request_id_comes_back(api: ApiHarness) -> None:
    client = api.client()
    assert client.get("/me", headers={"X-Request-ID": "my-request-1"}).headers["x-request-id"] == "my-request-1"
    problem = client.get("/people/none", headers={"X-Request-ID": "my-request-2"}).json()
    assert problem["instance"] == "urn:request:my-request-2"


def test_a_fault_says_nothing_of_itself(api: ApiHarness, monkeypatch: pytest.MonkeyPatch, log: StringIO) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("Wilhelmina lies in /home/ann/holiday.jpg")

    monkeypatch.setattr(PersonRepository, "list", broken)
    answer = api.client().get("/people")
    assert (answer.status_code, answer.json()["code"]) == (500, "unexpected")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Wilhelmina" not in answer.text
    assert "Wilhelmina" not in log.getvalue()
    assert "holiday" not in log.getvalue()
    assert "unexpected RuntimeError at test_middleware.py" in log.getvalue()
    assert answer.headers["x-request-id"] in log.getvalue()


def test_a_fault_in_the_middle_of_a_stream_says_nothing_of_itself(
    api: ApiHarness, monkeypatch: pytest.MonkeyPatch, log: StringIO
) -> None:
    things = api.one_of_each()

    def broken(*_: Any) -> None:
        raise RuntimeError("Wilhelmina")

    monkeypatch.setattr(JobRepository, "events", broken)
    answer = api.client().get(f"/jobs/{things.drawn}/events")
    assert answer.text == ""
    assert "Wilhelmina" not in log.getvalue()


def test_no_line_holds_a_name_a_key_or_a_photo(api: ApiHarness, log: StringIO) -> None:
    planted = ["Wilhelmina", "holiday-in-rome", "given-by-Hieronymus", "hook.example", "secret-token"]
    client = api.client("ann", "admin")
    consent = {"agreed": True, "text_version": "2026-11", "given_by": "given-by-Hieronymus"}
    made = client.post("/people", json={"name": "Wilhelmina", "consent": consent}).json()["id"]
    client.post(f"/people/{made}/selfies", files=[("files", ("holiday-in-rome.png", picture(1)))])
    client.post(f"/people/{made}/selfies", files=[("files", ("holiday-in-rome.txt", b"x"))])
    client.post("/webhooks", json={"url": "https://hook.example/?token=secret-token"})
    client.post("/webhooks", json={"url": "http://hook.example/secret-token"})
    client.get("/people?cursor=Wilhelmina%00")
    client.post("/people", json={"Wilhelmina": 1})
    api.anonymous("Bearer secret-token").get("/me")
    api.anonymous().post("/sign-in", json={"code": "secret-token"})
    api.anonymous().get("/Wilhelmina/holiday-in-rome")
    api.anonymous().request("WILHELMINA", "/me")
    things = api.one_of_each()
    for route in sorted(routes(api.app), key=lambda route: (route.method == "DELETE", route.path.startswith("/keys"))):
        if not route.path.endswith("/events"):  # it would follow a job that waits
            client.request(route.method, url_of(route, things), **request_body(route, things))
    text = log.getvalue()
    assert text.count("\n") > 70
    for word in [*planted, api.key("ann", "admin"), api.key(), made, things.person, things.portrait, things.selfie]:
        assert word.lower() not in text.lower(), word


def test_a_log_line_has_route_template_and_key_id(api: ApiHarness, log: StringIO) -> None:
    answer = api.client().get("/people/none")
    line = log.getvalue().strip().splitlines()[-1]
    assert "GET /people/{id} 404" in line
    assert answer.headers["x-request-id"] in line
    assert api.context.ledger.api_keys.list("ann")[0].id in line


def metrics(api: ApiHarness) -> dict[str, float]:
    text = api.client("olga", "operator").get("/metrics").text
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }


def test_metrics_are_right(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    before = metrics(api)
    for _ in range(3):
        client.get(f"/people/{things.person}")
    client.get("/people/none")
    after = metrics(api)
    sent = 'portrait_requests_total{method="GET",route="/people/{id}",status="%d"}'
    assert after[sent % 200] - before.get(sent % 200, 0) == 3
    assert after[sent % 404] - before.get(sent % 404, 0) == 1
    count = 'portrait_request_seconds_count{method="GET",route="/people/{id}"}'
    assert after[count] - before.get(count, 0) == 4
    assert after['portrait_jobs{queue="cpu",state="queued"}'] == 1
    assert after['portrait_jobs{queue="cpu",state="succeeded"}'] == 3
    assert 0 <= after['portrait_oldest_wait_seconds{queue="cpu"}'] < 600


def test_metrics_do_not_grow_with_unknown_paths(api: ApiHarness) -> None:
    stranger = api.anonymous()

    def ask(seed: int) -> int:
        for at in range(20):
            stranger.get(f"/people/{seed}-{at}")
            stranger.get(f"/{seed}/{at}")
            stranger.request(f"METHOD{seed}X{at}", "/me")
            stranger.request(f"METHOD{seed}X{at}", f"/nothing{at}")
        return len(metrics(api))

    metrics(api)
    first = ask(1)
    assert ask(2) == first == ask(3)
