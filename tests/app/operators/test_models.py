"""The operators' page of models: one is added from an address, fails, is replaced, removed, each against a real API."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.app.pages import as_client, open_page, press, visible_text
from tests.model_server import LORAS, Server, safetensors, serving
from tests.tasks.api.harness import ApiHarness, environment, new_home, open_api

pytestmark = pytest.mark.services  # starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def publisher() -> Iterator[Server]:
    with serving() as running:
        running.files["/film"] = safetensors(LORAS["sdxl"])
        running.files["/page"] = b"<html>" * 20
        yield running


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    home = new_home(tmp_path / "home")
    (home / "portrait.toml").write_text('[models]\nnetworks = ["127.0.0.0/8"]\n')
    with open_api(environment(home)) as api:
        yield api


def fill(app: AppTest, name: str, source: str, licence: str) -> None:
    for label, text in (("Name", name), ("Where from", source), ("Licence", licence)):
        [field] = [each for each in app.text_input if each.label == label]
        field.input(text)
    press(app, "Fetch it")


def settle(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == f"adding-{name}":
            thread.join(20)


def test_a_model_is_added_with_progress_replaced_and_removed(api: ApiHarness, publisher: Server) -> None:
    client = as_client(api, "olga", "operator")
    app = open_page(client, "models")
    fill(app, "Film", "/etc/passwd", "")
    assert len(app.warning) == 3
    publisher.delay = 1.0
    fill(app, "film", f"{publisher.url}/film", "CC-BY-4.0")
    assert "film is being added" in visible_text(app)
    settle("film")
    app.run()
    assert "is being added" not in visible_text(app)
    assert "Added here" in visible_text(app)
    assert "LoRA SDXL" in visible_text(app)
    [film] = [each for each in client.models() if each.own]
    assert (film.name, film.ready, film.licence, film.commercial) == ("film", True, "CC-BY-4.0", "ask")

    publisher.delay = 0
    fill(app, "page", f"{publisher.url}/page", "MIT")
    settle("page")
    app.run()
    assert "page could not be added" in visible_text(app)
    assert "This is no file of weights." in visible_text(app)
    app.button(key="model-dismiss-page").click().run()
    assert "could not be added" not in visible_text(app)

    app.button(key="model-remove-film").click().run()
    assert "Delete the model film" in visible_text(app)
    app.button(key="model-cancel").click().run()
    assert [each.name for each in client.models() if each.own] == ["film"]
    app.button(key="model-remove-film").click().run()
    app.button(key="model-sure").click().run()
    assert [each for each in client.models() if each.own] == []
    assert [each.value for each in app.exception] == []


def test_for_commercial_use_the_page_says_what_takes_the_place_of_what(tmp_path: Path) -> None:
    with open_api(environment(new_home(tmp_path / "home")) | {"PORTRAIT_PROFILE": "commercial"}) as api:
        client = as_client(api, "olga", "operator")
        told = {each.name: each for each in client.models()}
        assert (client.profile(), told["instantid"].allowed, told["photomaker"].allowed) == ("commercial", False, True)
        app = open_page(client, "models", {"search": "instantid"})
        text = visible_text(app)
        assert "This installation is for commercial use" in text
        assert "Take photomaker, ip_adapter_plus_face_sdxl, reference instead." in text
        assert not app.code, "no command to fetch it"
