"""The gallery: filters, order and place in its address, cards, several portraits at once."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from streamlit.testing.v1 import AppTest

from app.people.gallery.lists import PAGE, PortraitList
from tasks.client.client import Client
from tests.app.pages import as_client, open_page, open_test_api, press, visible_text
from tests.tasks.api.harness import ApiHarness, OwnedIds

_NUMBERS = count()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path_factory.mktemp("api") / "home") as api:
        yield api


@pytest.fixture
def things(api: ApiHarness) -> OwnedIds:
    """Of somebody with three portraits of two orders, whom no other test has."""
    made = api.one_of_each(f"ann{next(_NUMBERS)}")
    api.complete_next_job("draw:studio", count=2)
    return made


def gallery(client: Client, **address: str) -> AppTest:
    return open_page(client, "results", address)


def shown(app: AppTest) -> list[str]:
    """Ids of the portraits on the page, by their boxes."""
    return [str(box.key).removeprefix("select-") for box in app.checkbox if str(box.key).startswith("select-")]


def tick(app: AppTest, *ids: str) -> AppTest:
    for box in app.checkbox:
        if str(box.key).removeprefix("select-") in ids:
            box.check()
    return app.run()


def test_the_newest_come_first_and_the_address_says_otherwise(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    newest = [each.id for each in client.portraits()]
    assert shown(gallery(client)) == newest
    client.set_favourite(newest[1], True)
    assert shown(gallery(client, favourites="1")) == [newest[1]]
    assert shown(gallery(client, order=things.drawn)) == [things.portrait]
    assert shown(gallery(client, person=things.person)) == newest
    assert shown(gallery(client, sort="nonsense", shown="many")) == newest


def test_one_order_has_an_end(api: ApiHarness, things: OwnedIds) -> None:
    app = gallery(as_client(api, things.owner), order=things.drawn)
    assert "These are the portraits of one order" in visible_text(app)
    app = press(app, "Show all portraits")
    assert len(shown(app)) == 3
    assert "order" not in app.query_params


def test_portraits_of_one_order_stand_under_a_heading(api: ApiHarness, things: OwnedIds) -> None:
    app = gallery(as_client(api, things.owner), sort="order")
    assert len(app.subheader) == 2
    text = visible_text(app)
    assert "2 portraits" in text
    assert f"order={things.drawn}" in text, "the way to these alone"


def test_somebody_without_portraits_is_told_with_the_way_to_the_others(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    bob = client.add_person("Bob", "2026-11", "Bob").id
    app = gallery(client, person=bob)
    assert "No portraits of Bob yet" in visible_text(app)
    assert len(shown(press(app, "Show everybody’s portraits"))) == 3
    gone = gallery(client, person="person_gone")
    assert (shown(gone), len(gone.warning)) == ([], 1), "nobody is put in their place"
    assert len(shown(press(gone, "Show everybody’s portraits"))) == 3


def test_a_card_leads_to_its_portrait_and_keeps_the_list(api: ApiHarness, things: OwnedIds) -> None:
    text = visible_text(gallery(as_client(api, things.owner), sort="likeness", favourites=""))
    assert "p-open" in text
    assert "sort=likeness" in text.replace("&amp;", "&")


def test_cards_say_whom_they_are_like(api: ApiHarness, things: OwnedIds) -> None:
    assert "Like Ann" in visible_text(gallery(as_client(api, things.owner)))


def test_until_when_portraits_are_kept_is_told_and_that_favourites_go_too(api: ApiHarness, things: OwnedIds) -> None:
    assert "Favourites go too, but not before you were told" in visible_text(gallery(as_client(api, things.owner)))


def test_the_heart_marks_a_favourite(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    app = gallery(client)
    heart = next(each for each in app.button if each.key == f"favour-{things.portrait}")
    assert heart.label.startswith("Mark “")
    app = heart.click().run()
    assert client.portrait(things.portrait).favourite
    assert next(each for each in app.button if each.key == f"favour-{things.portrait}").label.startswith("Remove “")


def test_selected_portraits_are_deleted_together_and_brought_back(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    ids = [each.id for each in client.portraits()]
    app = tick(gallery(client), *ids[:2])
    assert "2 selected" in visible_text(app)
    app = press(app, "Delete")
    assert "2 portraits deleted" in visible_text(app)
    assert shown(app) == ids[2:]
    assert "2 selected" not in visible_text(app)
    press(app, "Undo")
    assert [each.id for each in client.portraits()] == ids


def test_selected_portraits_become_favourites_and_a_zip_of_their_own(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    app = press(gallery(client), "Select these 3")
    assert "3 selected" in visible_text(app)
    next(each for each in app.selectbox if each.label == "Format").select("png").run()
    text = visible_text(app).replace("&amp;", "&")
    assert f"/take/portraits.zip?id={client.portraits()[0].id}" in text
    assert "format=png" in text
    press(app, "Favourite")
    assert all(each.favourite for each in client.portraits())
    assert "3 selected" not in visible_text(press(app, "Select none"))


def test_a_long_list_is_shown_in_parts_and_says_how_much_there_is(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    order = {"people": {"1": things.person}, "style": "studio-warm"}
    api.client(things.owner).post("/generations", json=order)
    api.complete_next_job("draw:studio", count=PAGE)
    app = gallery(client)
    assert (len(shown(app)), f"{PAGE + 3} portraits, {PAGE} shown" in visible_text(app)) == (PAGE, True)
    app = press(app, "Show 3 more")
    assert len(shown(app)) == PAGE + 3
    assert str(2 * PAGE) in app.query_params["shown"], "a reload shows as many again"


def test_the_address_of_a_list_says_only_what_is_not_usual() -> None:
    assert set(PortraitList().query.values()) == {""}
    everything = PortraitList("p", "o", "likeness", True, 48)
    assert dict(everything.query) == {"person": "p", "order": "o", "sort": "likeness", "favourites": "1", "shown": "48"}
    assert replace(everything, order="job_1").filters == {"person": "p", "order": "", "job": "job_1", "favourite": True}
