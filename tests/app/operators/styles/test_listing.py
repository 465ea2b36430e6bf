"""The list of styles, and the import and creation of styles."""

import json

import pytest

from app.operators.styles.add import id_from_title
from tasks.client.client import Client
from tests import selfies
from tests.app.operators.styles.drafts import create_draft
from tests.app.pages import open_page, press, visible_text

services = pytest.mark.services  # starts an API of its own, which is too slow for the inner loop
CHAIN = {"name": "Office", "add_prompt_style": "in a suit", "model_id": "x/y", "colour": 1}


@services
def test_without_own_styles_the_list_has_the_built_in_ones(olga: Client) -> None:
    app = open_page(olga, "styles")
    assert [each.value for each in app.exception] == []
    assert app.title[0].value == "Style board"
    assert "Built in" in visible_text(app)
    app.pills(key="style-states").set_value(["draft"]).run()
    assert "No style is like that." in visible_text(app)


@services
def test_styles_are_filtered_by_state_and_text(olga: Client) -> None:
    create_draft(olga, licence="LicenseRef-unknown")
    app = open_page(olga, "styles")
    assert "1 error" in visible_text(app)
    app.pills(key="style-states").set_value(["draft"]).run()
    assert [each.key for each in app.button if each.label == "Open"] == ["open-garden"]
    app.pills(key="style-states").set_value([]).run()
    app.text_input(key="style-search").input("seaside").run()
    assert [each.key for each in app.button if each.label == "Open"] == ["open-studio-seaside"]


@services
def test_other_tools_styles_are_imported_and_skipped_content_is_listed(olga: Client) -> None:
    app = open_page(olga, "styles")
    chain = ("office.json", json.dumps(CHAIN).encode(), "application/json")
    app.file_uploader(key="arrivals-0").set_value([chain]).run()
    press(app, "Bring in")
    text = visible_text(app)
    assert "1 style came in as a draft." in text
    assert "office.json · colour · unknown; kept in [carried]" in text
    assert "office.json · model_id · the LoRA x/y is called y_" in text
    photos = [(f"{name}.jpg", selfies.jpeg(selfies.player(name)), "image/jpeg") for name in ("player 3", "player 4")]
    app.file_uploader(key="arrivals-1").set_value(photos).run()
    press(app, "Bring in")
    text = visible_text(app)
    assert "2 styles came in as drafts." in text
    assert "player 3.jpg · licence · " in text
    assert sorted(each.id for each in olga.operator_styles(status=["draft"])) == ["office", "player-3", "player-4"]
    press(app, "Close this list")
    assert "came in" not in visible_text(app)


@services
def test_a_broken_pack_shows_an_error_and_imports_nothing(olga: Client) -> None:
    app = open_page(olga, "styles")
    app.file_uploader(key="arrivals-0").set_value([("pack.zip", b"no zip", "application/zip")]).run()
    press(app, "Bring in")
    assert [each.value for each in app.exception] == []
    assert len(app.warning) == 1
    assert olga.operator_styles(status=["draft"]) == []


@services
def test_a_style_is_created_from_a_title(olga: Client) -> None:
    app = open_page(olga, "styles")
    app.button_group(key="begin-kind").set_value("studio").run()
    app.text_input(key="begin-title").input("Blue Hour").run()
    app.selectbox(key="begin-backdrop").set_value("studio-blue").run()
    press(app, "Begin")
    assert app.title[0].value == "Blue Hour"
    draft = olga.operator_style("blue-hour").draft
    assert draft is not None
    assert [each.code for each in draft.findings] == ["licence_missing"]


@services
def test_a_studio_style_begins_with_a_picture_of_ones_own(olga: Client) -> None:
    app = open_page(olga, "styles")
    app.button_group(key="begin-kind").set_value("studio").run()
    app.text_input(key="begin-title").input("Hall").run()
    app.selectbox(key="begin-backdrop").set_value("A picture of your own").run()
    assert app.button(key="begin-start").disabled
    app.file_uploader(key="begin-0").set_value([("hall.jpg", selfies.jpeg(selfies.group()), "image/jpeg")]).run()
    press(app, "Begin")
    draft = olga.operator_style("hall").draft
    assert draft is not None
    assert (draft.picture, draft.content["backdrop"], draft.checked) == (True, "", False)


@services
def test_a_style_whose_picture_fails_is_not_created(olga: Client) -> None:
    app = open_page(olga, "styles")
    app.text_input(key="begin-title").input("Hall").run()
    assert app.button(key="begin-start").disabled
    app.file_uploader(key="begin-0").set_value([("hall.jpg", b"no picture", "image/jpeg")]).run()
    press(app, "Begin")
    assert len(app.warning) == 1
    assert olga.operator_styles(status=["draft"]) == []
    app.file_uploader(key="begin-0").set_value([("hall.jpg", selfies.jpeg(selfies.group()), "image/jpeg")]).run()
    press(app, "Begin")
    assert app.title[0].value == "Hall"
    draft = olga.operator_style("hall").draft
    assert draft is not None
    assert (draft.picture, draft.checked) == (True, False)


@pytest.mark.parametrize(
    ("title", "id"), [("Blue Hour!", "blue-hour"), ("Café 24", "cafe-24"), ("雨中", "style"), ("a" * 90, "a" * 60)]
)
def test_an_id_is_made_of_a_title(title: str, id: str) -> None:
    assert id_from_title(title) == id
