"""The list of styles, and how styles come in."""

import json

import pytest

from app.operators.styles.add import named_like
from tasks.client.client import Client
from tests import selfies
from tests.app.operators.styles.drafts import made
from tests.app.pages import opened, press, words

services = pytest.mark.services  # starts an API of its own, which is too slow for the inner loop
CHAIN = {"name": "Office", "add_prompt_style": "in a suit", "model_id": "x/y", "colour": 1}


@services
def test_without_own_styles_the_board_shows_the_built_in_ones(olga: Client) -> None:
    app = opened(olga, "styles")
    assert [each.value for each in app.exception] == []
    assert app.title[0].value == "Styles"
    assert "Built in" in words(app)
    app.pills(key="style-states").set_value(["draft"]).run()
    assert "No style is like that." in words(app)


@services
def test_styles_are_found_by_state_and_by_words(olga: Client) -> None:
    made(olga, licence="LicenseRef-unknown")
    app = opened(olga, "styles")
    assert "1 error" in words(app)
    app.pills(key="style-states").set_value(["draft"]).run()
    assert [each.key for each in app.button if each.label == "Open"] == ["open-garden"]
    app.pills(key="style-states").set_value([]).run()
    app.text_input(key="style-search").input("seaside").run()
    assert [each.key for each in app.button if each.label == "Open"] == ["open-studio-seaside"]


@services
def test_what_other_tools_made_comes_in_and_what_did_not_is_told_line_by_line(olga: Client) -> None:
    app = opened(olga, "styles")
    chain = ("office.json", json.dumps(CHAIN).encode(), "application/json")
    app.file_uploader(key="arrivals-0").set_value([chain]).run()
    press(app, "Bring in")
    seen = words(app)
    assert "1 style came in as a draft." in seen
    assert "office.json · colour · unknown; kept in [carried]" in seen
    assert "office.json · model_id · the LoRA x/y is to be imported into the model store" in seen
    photos = [(f"{name}.jpg", selfies.jpeg(selfies.player(name)), "image/jpeg") for name in ("player 3", "player 4")]
    app.file_uploader(key="arrivals-1").set_value(photos).run()
    press(app, "Bring in")
    seen = words(app)
    assert "2 styles came in as drafts." in seen
    assert "player 3.jpg · licence · " in seen
    assert sorted(each.id for each in olga.own_styles(status=["draft"])) == ["office", "player-3", "player-4"]
    press(app, "Close this list")
    assert "came in" not in words(app)


@services
def test_a_pack_that_is_none_is_told_and_nothing_comes_in(olga: Client) -> None:
    app = opened(olga, "styles")
    app.file_uploader(key="arrivals-0").set_value([("pack.zip", b"no zip", "application/zip")]).run()
    press(app, "Bring in")
    assert [each.value for each in app.exception] == []
    assert len(app.warning) == 1
    assert olga.own_styles(status=["draft"]) == []


@services
def test_a_style_is_begun_with_a_name_alone(olga: Client) -> None:
    app = opened(olga, "styles")
    app.button_group(key="begin-kind").set_value("studio").run()
    app.text_input(key="begin-title").input("Blue Hour").run()
    app.selectbox(key="begin-backdrop").set_value("studio-blue").run()
    press(app, "Begin")
    assert app.title[0].value == "Blue Hour"
    draft = olga.own_style("blue-hour").draft
    assert draft is not None
    assert [each.code for each in draft.findings] == ["licence_missing"]


@services
def test_a_style_with_a_picture_is_begun_whole_or_not_at_all(olga: Client) -> None:
    app = opened(olga, "styles")
    app.text_input(key="begin-title").input("Hall").run()
    assert app.button(key="begin-start").disabled
    app.file_uploader(key="begin-0").set_value([("hall.jpg", b"no picture", "image/jpeg")]).run()
    press(app, "Begin")
    assert len(app.warning) == 1
    assert olga.own_styles(status=["draft"]) == []
    app.file_uploader(key="begin-0").set_value([("hall.jpg", selfies.jpeg(selfies.group()), "image/jpeg")]).run()
    press(app, "Begin")
    assert app.title[0].value == "Hall"
    draft = olga.own_style("hall").draft
    assert draft is not None
    assert (draft.picture, draft.checked) == (True, False)


@pytest.mark.parametrize(
    ("title", "id"), [("Blue Hour!", "blue-hour"), ("Café 24", "cafe-24"), ("雨中", "style"), ("a" * 90, "a" * 60)]
)
def test_an_id_is_made_of_a_title(title: str, id: str) -> None:
    assert named_like(title) == id
