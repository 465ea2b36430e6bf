"""The page of ID photos: what is chosen becomes an order, which is followed beside the form."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.schemas import TrainingRequest
from tests.app.pages import as_client, open_page, open_test_api, press, visible_text
from tests.tasks.api.harness import ApiHarness, picture

pytestmark = pytest.mark.services
MAKE = "Make the ID photo"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def test_a_document_a_background_and_a_file_size_are_ordered(api: ApiHarness) -> None:
    person, client = api.prepared_person(), as_client(api)
    app = open_page(client, "idphoto", {"person": person, "preset": "us-passport", "background": "blue"})
    app.number_input(key="idphoto-kb").set_value(200)
    press(app, MAKE)
    [job] = client.jobs(kind="generate")
    wanted = job.wants["idphoto"]
    assert (wanted["preset"], wanted["background"], wanted["kilobytes"]) == ("us-passport", "blue", [0, 200])
    assert (job.wants["people"], job.wants["count"]) == ({"1": person}, 1)
    assert app.query_params["job"] == job.id
    assert "Making the ID photo" in visible_text(app)


def test_it_is_told_and_chosen_which_photo_it_is_made_of(api: ApiHarness) -> None:
    person, client = api.prepared_person(), as_client(api)
    client.add_selfies(person, [("two.png", picture(2))])
    client.train(TrainingRequest.model_validate({"person": person}))
    api.complete_next_job("prepare")
    [first, second] = [each.id for each in client.selfies(person)]
    app = open_page(client, "idphoto", {"person": person, "background": "blue"})
    links = visible_text(app).replace("&amp;", "&")
    assert f"background=blue&photo={second}" in links, "the choice keeps what was chosen before"
    app.query_params["photo"] = second
    press(app.run(), MAKE)
    api.complete_next_job("draw:idphoto")
    assert f"/picture/selfie/{first}?side=320" in visible_text(app.run()).partition("Made of this photo")[0][-600:]
    press(app, "Red")
    assert [job.wants.get("photo") for job in client.jobs(kind="generate")] == [second, second]
    open_page(client, "idphoto", {"person": person, "photo": "selfie_of_nobody"})


def test_a_usage_is_told_in_the_visitors_language_and_a_document_by_its_name(api: ApiHarness) -> None:
    client, person = as_client(api), api.prepared_person()
    usage = visible_text(open_page(client, "idphoto", {"person": person, "preset": "one-inch"}, language="zh"))
    assert "规格来源：国内照相馆的惯例，并非主管机关的规定" in usage
    assert "Usage of" not in usage
    document = visible_text(open_page(client, "idphoto", {"person": person, "preset": "us-passport"}, language="zh"))
    assert "U.S. Department of State" in document


def test_an_own_size_is_ordered(api: ApiHarness) -> None:
    person, client = api.prepared_person(), as_client(api)
    app = open_page(client, "idphoto", {"person": person, "preset": "own"})
    app.number_input(key="idphoto-width-mm").set_value(33)
    app.number_input(key="idphoto-height-mm").set_value(48)
    press(app, MAKE)
    wanted = client.jobs(kind="generate")[0].wants["idphoto"]
    assert (wanted["preset"], wanted["size"], wanted["unit"]) == ("icao", [33.0, 48.0], "mm")


def test_another_background_is_one_click(api: ApiHarness) -> None:
    person, client = api.prepared_person(), as_client(api)
    app = press(open_page(client, "idphoto", {"person": person}), MAKE)
    first = app.query_params["job"]
    api.complete_next_job("draw:idphoto")
    app.run()
    assert "/take/portrait/" in visible_text(app)
    assert "/take/sheet/" in visible_text(app)
    press(app, "Red")
    assert app.query_params["job"] != first
    newest = client.job(app.query_params["job"])
    assert newest.wants["idphoto"]["background"] == "red"
    assert newest.wants["idphoto"]["preset"] == client.job(first).wants["idphoto"]["preset"]


def test_orders_from_two_tabs_are_never_mixed_up(api: ApiHarness) -> None:
    people = {"red": api.prepared_person(), "blue": api.prepared_person(name="Bea")}
    client = as_client(api)
    tabs = {color: open_page(client, "idphoto", {"person": id, "background": color}) for color, id in people.items()}
    for _ in range(2):
        for tab in tabs.values():
            press(tab, MAKE)
    wanted = [(job.wants["idphoto"]["background"], job.wants["people"]) for job in client.jobs(kind="generate")]
    assert sorted(wanted, key=str) == sorted([(color, {"1": id}) for color, id in people.items()] * 2, key=str)


def test_a_press_on_a_page_of_ann_does_nothing_once_bea_is_chosen(api: ApiHarness) -> None:
    ann, bea, client = api.prepared_person(), api.prepared_person(name="Bea"), as_client(api)
    app = open_page(client, "idphoto", {"person": ann})
    app.button(key="idphoto-make").click()
    app.query_params["person"] = bea  # the address has changed already, the page has not
    app.run()
    assert client.jobs(kind="generate") == []


def test_the_job_of_somebody_else_is_not_shown(api: ApiHarness) -> None:
    ann, bea, client = api.prepared_person(), api.prepared_person(name="Bea"), as_client(api)
    app = press(open_page(client, "idphoto", {"person": ann}), MAKE)
    other = open_page(client, "idphoto", {"person": bea, "job": app.query_params["job"]})
    assert "The ID photo appears here" in visible_text(other)


def test_nobody_gets_an_id_photo_without_consent(api: ApiHarness) -> None:
    app = open_page(as_client(api), "idphoto")
    assert "Agree and continue" in visible_text(app)
    assert MAKE not in visible_text(app)
    person = api.prepared_person()
    as_client(api).withdraw_consent(person)
    app = open_page(as_client(api), "idphoto", {"person": person})
    assert MAKE not in visible_text(app)
