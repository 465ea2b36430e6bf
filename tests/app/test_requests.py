"""What pages ask of the task API: a few requests, however many people there are, and nothing for another visit."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tasks import schemas
from tasks.client.client import Client
from tests.app.pages import InProcessTransport, as_client, go_to_page, open_page, open_test_api, visible_text
from tests.tasks.api.harness import ApiHarness, picture

pytestmark = pytest.mark.services


class CountingTransport(InProcessTransport):
    """Notes the path of each request."""

    def __init__(self, api: ApiHarness) -> None:
        super().__init__(api)
        self.paths: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path.removeprefix("/v1"))
        return super().handle_request(request)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiHarness]:
    with open_test_api(Path(tmp_path_factory.mktemp("requests")) / "home") as api:
        for name in ("Ann", "Bea", "Cleo"):
            order = {"people": {"1": api.prepared_person(name=name)}, "style": "studio-warm", "count": 2}
            as_client(api).generate(schemas.GenerationRequest.model_validate(order))
            api.complete_next_job(count=2)
        yield api


@pytest.mark.parametrize(
    ("page", "asked"),
    [
        ("photos", ["/people", "/people/{id}/selfies", "/jobs"]),
        ("progress", ["/jobs", "/people", "/styles"]),
        ("results", ["/people", "/portraits", "/styles"]),
        ("privacy", ["/people", "/templates", "/sessions"]),
    ],
)
def test_a_page_asks_once_for_all_people(api: ApiHarness, page: str, asked: list[str]) -> None:
    transport = CountingTransport(api)
    person = as_client(api).people()[0].id
    app = open_page(Client("http://testserver", api.key("ann"), transport=transport))
    assert transport.paths == ["/me", "/people", "/portraits", "/consent-text"]
    transport.paths.clear()
    assert not go_to_page(app, page).exception
    assert [each.replace(person, "{id}") for each in transport.paths] == asked


def test_the_next_click_asks_less(api: ApiHarness) -> None:
    transport = CountingTransport(api)
    app = open_page(Client("http://testserver", api.key("ann"), transport=transport))
    transport.paths.clear()
    app.run()
    assert transport.paths == ["/people", "/portraits"]


def test_what_one_visit_keeps_is_shown_to_no_other(api: ApiHarness) -> None:
    owners = {each: open_page(as_client(api, each), "progress") for each in ("ann", "bob")}
    assert "Signed in as ann" in visible_text(owners["ann"])
    assert "Signed in as bob" in visible_text(owners["bob"])
    assert "/portrait?" in visible_text(owners["ann"])
    assert "/portrait?" not in visible_text(owners["bob"])


def test_a_change_shows_at_once(api: ApiHarness) -> None:
    client = as_client(api)
    app = open_page(client)
    assert visible_text(app).count("2 portraits") == 3
    gone = client.portraits()[0]
    client.delete_portrait(gone.id)
    client.rename_person(gone.people["1"], "Dora")
    text = visible_text(app.run())
    assert (text.count("2 portraits"), text.count("1 portrait<"), "Dora" in text) == (2, 1, True)


def test_a_picture_that_has_just_come_has_its_name(api: ApiHarness) -> None:
    client, person = as_client(api), as_client(api).people()[0].id
    app = open_page(client, "progress")
    text = client.consent_text("en").version
    template = client.add_template("party.png", picture(7), text)
    order = {"people": {"1": person}, "template": template.id, "count": 1}
    client.generate(schemas.GenerationRequest.model_validate(order))
    assert "party.png" in visible_text(app.run())
