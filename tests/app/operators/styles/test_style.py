"""The operators' page of one style: edits, findings, publishing, and conflicts of two operators."""

from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from tasks.client.client import Client
from tasks.ledger import tables
from tests import selfies
from tests.app.operators.styles.drafts import GARDEN, create_draft, field, get_draft, open_style
from tests.app.pages import UnreachableTransport, as_client, go_to_page, open_page, press, visible_text
from tests.tasks.api.harness import ApiHarness

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


def test_a_style_without_a_draft_offers_its_next_version(olga: Client) -> None:
    app = open_style(olga, "studio-warm")
    assert "There is no draft" in visible_text(app)
    press(app, "Begin the next version")
    draft = olga.operator_style("studio-warm").draft
    assert draft is not None
    assert draft.content["backdrop"] == "studio-warm"
    assert field(app, "title").value == "Warm paper"


def test_edits_are_saved_and_nothing_else_changes(olga: Client) -> None:
    before = create_draft(olga).content
    app = open_style(olga, "garden")
    field(app, "title").input("Rose garden").run()
    assert "Not saved" in visible_text(app)
    assert app.button(key="style-test").disabled
    press(app, "Save the draft")
    after = get_draft(olga).content
    assert after == {**before, "title": "Rose garden"}
    assert "Not saved" not in visible_text(app)


def test_findings_stand_at_their_fields_and_prevent_publishing(olga: Client) -> None:
    create_draft(olga, licence="LicenseRef-unknown", prompt="{who} like Taylor Swift, {weather}")
    app = open_style(olga, "garden")
    text = visible_text(app)
    assert "3 errors" in text
    assert "Licence: No licence" in text
    assert "There are age, beard, expression, gender, glasses, traits, who; add a table [traits.weather]." in text
    assert app.button(key="style-publish").disabled
    field(app, "licence").input("CC0-1.0").run()
    field(app, "prompt").input("{who} in the rain").run()
    press(app, "Save the draft")
    assert "Nothing found" in visible_text(app)
    assert not app.button(key="style-publish").disabled
    app.button(key="style-publish").click().run()
    assert "Nobody has seen yet what comes out" in visible_text(app)
    assert olga.operator_style("garden").offered is None
    app.button(key="style-publish-anyway").click().run()
    assert "Version 1 is published" in visible_text(app)
    assert olga.operator_style("garden").offered == 1


def test_errors_of_the_api_stand_at_their_fields_and_edits_stay(olga: Client) -> None:
    create_draft(olga)
    app = open_style(olga, "garden")
    field(app, "title").input("").run()
    press(app, "Save the draft")
    assert "This is too short." in visible_text(app)
    assert field(app, "title").value == ""
    assert get_draft(olga).content["title"] == "Garden"


def test_a_conflict_with_another_operator_loses_no_edits(api: ApiHarness, olga: Client) -> None:
    create_draft(olga)
    app = open_style(olga, "garden")
    field(app, "prompt").input("{who} among roses").run()
    field(app, "mood").input("calm").run()
    other = as_client(api, "otto", "operator")
    theirs = {**get_draft(other).content, "prompt": "{who} among tulips", "credit": "Otto"}
    other.write_draft("garden", theirs, get_draft(other).edition)
    press(app, "Save the draft")
    text = visible_text(app)
    assert "otto changed this draft while you were working on it. Nothing that you typed is lost." in text
    assert "You changed: Prompt and Mood." in text or "You changed: Mood and Prompt." in text
    assert "They changed: Credit and Prompt." in text or "They changed: Prompt and Credit." in text
    assert "Prompt: {who} among tulips" in text
    assert field(app, "prompt").value == "{who} among roses"
    press(app, "Save my changes over theirs")
    now = get_draft(olga).content
    assert (now["prompt"], now["mood"], now["credit"]) == ("{who} among roses", "calm", "Otto")
    field(app, "mood").input("proud").run()
    olga.write_draft("garden", {**now, "credit": "Olga"}, get_draft(olga).edition)
    assert "You changed this draft in another window" in visible_text(press(app, "Save the draft"))


def test_edits_survive_an_unreachable_api(olga: Client) -> None:
    create_draft(olga)
    app = open_style(olga, "garden")
    field(app, "title").input("Rose garden").run()
    app.session_state["client"] = Client("http://nowhere", "pk_x", transport=UnreachableTransport())
    app.run()
    assert app.title[0].value == "One moment"
    app.session_state["client"] = olga
    app.run()
    assert field(app, "title").value == "Rose garden"


def test_an_id_photo_has_fields_for_preset_and_background_alone(olga: Client) -> None:
    app = press(open_style(olga, "idphoto-passport"), "Begin the next version")
    field(app, "background").input("#dde4ec").run()
    press(app, "Save the draft")
    draft = olga.operator_style("idphoto-passport").draft
    assert draft is not None
    assert (draft.content["preset"], draft.content["background"]) == ("icao", "#dde4ec")
    assert [each for each in app.slider if str(each.key).startswith("field-retouch")] == []


def test_a_studio_style_may_have_a_colour_of_its_own(olga: Client) -> None:
    app = press(open_style(olga, "studio-warm"), "Begin the next version")
    field(app, "backdrop").select("A colour of your own").run()
    [picker] = app.color_picker
    picker.pick("#AA3344").run()
    press(app, "Save the draft")
    draft = olga.operator_style("studio-warm").draft
    assert draft is not None
    assert draft.content["backdrop"] == "#aa3344"
    assert [each.code for each in draft.findings if each.level == "error"] == []
    assert [each.value for each in open_style(olga, "studio-warm").color_picker] == ["#aa3344"]


def test_a_studio_style_may_have_a_picture_of_its_own(olga: Client) -> None:
    app = press(open_style(olga, "studio-warm"), "Begin the next version")
    field(app, "title").input("Our hall").run()
    field(app, "backdrop").select("A picture of your own").run()
    assert [each.label for each in app.slider] == ["Retouching"], "there is nothing to blur yet"
    hall = selfies.jpeg(np.full((600, 700, 3), 90, np.uint8))
    app.file_uploader[0].set_value([("hall.jpg", hall, "image/jpeg")]).run()
    field(app, "blur").set_value(0.5).run()
    press(app, "Save the draft")
    draft = olga.operator_style("studio-warm").draft
    assert draft is not None
    assert (draft.content["backdrop"], draft.content["blur"], draft.content["title"]) == ("", 0.5, "Our hall")
    assert draft.content["picture"]["file"] == "picture.jpg"
    assert (draft.picture, draft.checked) == (True, False)
    app = open_style(olga, "studio-warm")
    assert [app.button(key=f"style-{each}").disabled for each in ("check", "test", "publish")] == [False, False, True]
    field(app, "backdrop").select("studio-blue").run()
    press(app, "Save the draft")
    draft = olga.operator_style("studio-warm").draft
    assert draft is not None
    assert (draft.content["backdrop"], draft.content["picture"], draft.content["blur"]) == ("studio-blue", None, 0.0)
    assert (draft.picture, draft.checked) == (False, True)


def test_people_cannot_open_operators_pages(api: ApiHarness, olga: Client) -> None:
    create_draft(olga)
    app = open_page(as_client(api))
    for page in ("styles", "style"):
        app.query_params["id"] = "garden"
        assert "Garden" not in visible_text(go_to_page(app, page))


def test_rows_are_added_and_removed(olga: Client) -> None:
    create_draft(olga, traits={"hat": {"default": "with a cap", "choices": []}}, prompt="{who}, {hat}, {weather}")
    app = open_style(olga, "garden")
    field(app, "traits-1-name").input("weather").run()
    field(app, "traits-1-default").input("in the rain").run()
    assert field(app, "traits-2-name").value == ""
    press(app, "Save the draft")
    assert set(get_draft(olga).content["traits"]) == {"hat", "weather"}
    field(app, "traits-0-name").input("").run()
    field(app, "prompt").input("{who}, {weather}").run()
    press(app, "Save the draft")
    assert get_draft(olga).content["traits"] == {"weather": {"default": "in the rain", "choices": []}}
    assert "Nothing found" in visible_text(app)


def test_a_draft_deleted_meanwhile_can_be_saved_again(api: ApiHarness, olga: Client) -> None:
    create_draft(olga)
    olga.publish_style("garden")
    content = {**olga.operator_style("garden").content, "mood": "calm"}
    olga.write_draft("garden", content)
    app = open_style(olga, "garden")
    field(app, "title").input("Rose garden").run()
    as_client(api, "otto", "operator").delete_draft("garden")
    press(app, "Save the draft")
    assert "Somebody published or deleted this draft" in visible_text(app)
    press(app, "Save my changes over theirs")
    now = get_draft(olga).content
    assert (now["title"], now["mood"]) == ("Rose garden", "")


def test_edits_can_be_dropped_for_another_operators(api: ApiHarness, olga: Client) -> None:
    create_draft(olga)
    app = open_style(olga, "garden")
    field(app, "mood").input("calm").run()
    other = as_client(api, "otto", "operator")
    other.write_draft("garden", {**get_draft(other).content, "credit": "Otto"}, get_draft(other).edition)
    press(app.run(), "Drop mine, show theirs")
    assert (field(app, "mood").value, field(app, "credit").value) == ("", "Otto")
    assert get_draft(olga).content["mood"] == ""


def test_deleting_a_draft_and_retiring_a_version(olga: Client) -> None:
    create_draft(olga)
    olga.publish_style("garden")
    create_draft(olga)
    app = open_style(olga, "garden")
    press(app, "Delete it")
    assert olga.operator_style("garden").status == ["published"]
    assert "There is no draft" in visible_text(app)
    press(app, "Retire it")
    assert olga.operator_style("garden").status == ["retired"]
    assert "Version 1 is retired." in visible_text(app)


@pytest.mark.parametrize(
    "content",
    [
        {**GARDEN, "kind": "template", "picture": {"package": "no.such", "path": "a.png"}},
        {"id": "garden", "kind": "hologram"},
    ],
)
def test_a_draft_that_does_not_hold_any_more_can_be_looked_at_and_deleted(
    api: ApiHarness, olga: Client, content: dict[str, Any]
) -> None:
    create_draft(olga)
    with api.context.ledger.database.write() as connection:  # as an earlier version accepted it
        connection.execute(sa.update(tables.style_drafts).values(content=content))
    app = open_style(olga, "garden")
    assert "Does not hold any more" in visible_text(app)
    press(app, "Delete it")
    assert "garden" not in {each.id for each in olga.operator_styles()}
