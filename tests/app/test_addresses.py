"""What a page shows is in its address: whose it is, through every way of coming back to it."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from tests.app.pages import as_client, go_to_page, open_page, open_test_api, press, press_after_restart, visible_text
from tests.tasks.api.harness import ApiHarness

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiHarness]:
    with open_test_api(Path(tmp_path_factory.mktemp("addresses")) / "home") as api:
        yield api


@pytest.fixture(scope="module")
def people(api: ApiHarness) -> dict[str, str]:
    """Ann and Bea, who both belong to one visitor, by name."""
    return {name: api.prepared_person(name=name) for name in ("Ann", "Bea")}


def person_of(app: AppTest) -> str:
    """The person in the address of a page."""
    return str(app.query_params["person"])


@pytest.mark.parametrize("name", ["Ann", "Bea"])
def test_a_page_shows_the_person_of_its_address(api: ApiHarness, people: dict[str, str], name: str) -> None:
    app = open_page(as_client(api), "photos", {"person": people[name]})
    assert person_of(app) == people[name]
    assert app.selectbox(key="who").value == people[name]


def test_an_address_without_a_person_gets_one(api: ApiHarness, people: dict[str, str]) -> None:
    app = open_page(as_client(api), "photos")
    assert person_of(app) == app.selectbox(key="who").value


def test_choosing_another_person_changes_the_address(api: ApiHarness, people: dict[str, str]) -> None:
    app = open_page(as_client(api), "photos", {"person": people["Ann"], "order": "order_of_anns"})
    app.selectbox(key="who").select(people["Bea"]).run()
    assert (person_of(app), "order" in app.query_params) == (people["Bea"], False)
    assert app.selectbox(key="who").value == people["Bea"]
    app.query_params["person"] = people["Ann"]  # back in the history
    assert app.run().selectbox(key="who").value == people["Ann"]


def test_nobody_takes_the_place_of_somebody_who_is_gone(api: ApiHarness, people: dict[str, str]) -> None:
    app = open_page(as_client(api), "create", {"person": "person_gone"})
    assert person_of(app) == "person_gone"
    assert "not here any more" in visible_text(app)
    assert len(app.get("selectbox")) == 0
    press(app, "Bea")
    assert person_of(app) == people["Bea"]


def test_two_people_of_one_name_are_told_apart(api: ApiHarness) -> None:
    ids = [api.prepared_person("cleo", "Cleo") for _ in range(2)]
    app = open_page(as_client(api, "cleo"), "photos", {"person": ids[0]})
    assert sorted(app.selectbox(key="who").options) == ["Cleo", "Cleo (2)"]
    app.selectbox(key="who").select(ids[1]).run()
    assert person_of(app) == ids[1]


def test_links_of_the_menu_keep_the_person(api: ApiHarness, people: dict[str, str]) -> None:
    app = open_page(as_client(api), "progress", {"person": people["Bea"], "order": "order_1"})
    [menu] = [each.proto.body for each in app.get("html") if "<nav" in each.proto.body]
    links = [urlsplit(each.split('"')[0].replace("&amp;", "&")) for each in menu.split('href="')[1:]]
    pages = {link.path: parse_qs(link.query) for link in links}
    assert pages["/results"] == pages["/photos"] == pages["/"] == {"person": [people["Bea"]]}
    [back] = pages["/language/zh"]["back"]
    assert (urlsplit(back).path, parse_qs(urlsplit(back).query)["order"]) == ("/progress", ["order_1"])
    assert menu.count('aria-current="page"') == 1


def test_two_tabs_keep_their_people(api: ApiHarness, people: dict[str, str]) -> None:
    tabs = {name: open_page(as_client(api), "photos", {"person": id}) for name, id in people.items()}
    for page in ("create", "photos", "progress", "photos"):
        for name, tab in tabs.items():
            go_to_page(tab, page)
            assert person_of(tab) == people[name]
    assert [tab.selectbox(key="who").value for tab in tabs.values()] == list(people.values())


def test_a_button_of_one_persons_page_does_nothing_for_another(api: ApiHarness, people: dict[str, str]) -> None:
    app = open_page(as_client(api), "privacy", {"person": people["Ann"]})
    before = {each.id for each in app.button}
    app.query_params["person"] = people["Bea"]
    app.run()
    assert before.isdisjoint(each.id for each in app.button)


def test_a_click_after_a_restart_is_not_followed_and_told(api: ApiHarness, people: dict[str, str]) -> None:
    client = as_client(api)
    app = open_page(client, "photos", {"person": people["Ann"]})
    app = press_after_restart(app, client, "Choose a style")
    assert person_of(app) == people["Ann"]
    assert app.title[0].value == "Photos"
    assert "was restarted" in visible_text(app)
    press(app, "Choose a style")
    assert (app.title[0].value, person_of(app)) == ("Choose a style", people["Ann"])
    assert "was restarted" not in visible_text(app)
