"""Models by the API: the list with what is on its way, adding from an address, removing; operators alone."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import schemas
from tasks.client.client import Client
from tests.model_server import LORAS, Server, safetensors, serving
from tests.tasks.api.harness import ApiHarness, api_server, environment, new_home, open_api

LORA = safetensors(LORAS["sdxl"])


@pytest.fixture
def publisher() -> Iterator[Server]:
    with serving() as running:
        running.files["/film.safetensors"] = LORA
        running.files["/page"] = b"<html>" * 20
        yield running


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    home = new_home(tmp_path / "home")
    (home / "portrait.toml").write_text('[models]\nnetworks = ["127.0.0.0/8"]\n')
    with open_api(environment(home)) as api:
        yield api


def order(publisher: Server, path: str = "/film.safetensors", **parts: Any) -> dict[str, Any]:
    given = {"name": "film", "kind": "lora", "source": publisher.url + path, "licence": "MIT", "commercial": "yes"}
    return given | parts


def settled(client: Client, name: str = "film") -> schemas.ModelStatus | None:
    """The model once nothing is on its way."""
    for _ in range(200):
        found = next((each for each in client.models() if each.name == name), None)
        if found is None or found.addition is None or found.addition.state != "running":
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


def test_operators_add_see_replace_and_remove_a_model(api: ApiHarness, publisher: Server) -> None:
    with api_server(api) as server, Client(server.url, api.key("olga", "operator")) as client:
        request = schemas.ModelRequest.model_validate(order(publisher, steps=4, note="For [film]."))
        assert client.add_model(request).name == "film"
        found = settled(client)
        assert found
        assert (found.ready, found.kind, found.family, found.own, found.state) == (True, "lora", "sdxl", True, "here")
        assert (found.bytes, found.note, dict(found.facts)) == (len(LORA), "For [film].", {"steps": 4})
        operator = api.client("olga", "operator")
        again = operator.post("/operator/models", json=order(publisher))
        assert (again.status_code, again.json()["code"]) == (409, "model_exists")
        publisher.files["/other"] = safetensors(LORAS["sd15"])
        client.add_model(schemas.ModelRequest.model_validate(order(publisher, "/other", replace=True)))
        replaced = settled(client)
        assert replaced
        assert replaced.family == "sd15"
        client.remove_model("film")
        assert settled(client) is None
        gone = operator.delete("/operator/models/film")
        assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
        shipped = operator.delete("/operator/models/sdxl")
        assert (shipped.status_code, shipped.json()["code"]) == (409, "not_own_model")
        actions = [each.action for each in api.context.ledger.audit.list(action="model").items]
        assert actions == ["model.removed", "model.added", "model.added"]


def test_progress_is_told_twice_asking_is_once_and_a_fault_stays_until_it_is_dismissed(
    api: ApiHarness, publisher: Server
) -> None:
    operator = api.client("olga", "operator")
    publisher.delay = 0.6
    first = operator.post("/operator/models", json=order(publisher))
    second = operator.post("/operator/models", json=order(publisher))
    assert [each.status_code for each in (first, second)] == [202, 202]
    assert second.json()["addition"]["state"] == "running"
    assert second.json()["own"] is True
    other = operator.post("/operator/models", json=order(publisher, "/page"))
    assert (other.status_code, other.json()["code"]) == (409, "model_busy")
    for thread in threading.enumerate():
        if thread.name == "adding-film":
            thread.join(20)
    assert len(publisher.gets("/film.safetensors")) == 1

    publisher.delay = 0
    operator.post("/operator/models", json=order(publisher, "/page", name="page"))
    for thread in threading.enumerate():
        if thread.name == "adding-page":
            thread.join(20)
    shown = {each["name"]: each for each in operator.get("/operator/models").json()["items"]}
    assert shown["film"]["addition"] is None
    assert shown["page"]["addition"]["code"] == "not_weights"
    assert "web page" in shown["page"]["missing"][0]
    assert operator.delete("/operator/models/page").status_code == 204
    assert "page" not in {each["name"] for each in operator.get("/operator/models").json()["items"]}


def test_what_does_not_hold_is_refused(api: ApiHarness, publisher: Server) -> None:
    operator = api.client("olga", "operator")
    wrong: list[dict[str, Any]] = [
        {"source": "/etc/passwd"},
        {"source": "file:///etc/passwd"},
        {"name": "../film"},
        {"kind": "network"},
        {"licence": ""},
        {"commercial": "maybe"},
        {"page": "javascript:alert(1)"},
        {"steps": 0},
        {"family": "kolors"},
    ]
    for parts in wrong:
        assert operator.post("/operator/models", json=order(publisher, **parts)).status_code == 422, parts
    assert api.client("ann").post("/operator/models", json=order(publisher)).status_code == 403
    assert api.client("ann").delete("/operator/models/film").status_code == 403
    assert publisher.requests == []
