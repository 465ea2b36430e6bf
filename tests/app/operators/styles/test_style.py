"""One style on the operators' board: typed, saved, found wrong, published; of two operators neither loses anything."""

import pytest

from tasks.client.client import Client
from tests.app.operators.styles.drafts import at, drafted, field, made
from tests.app.pages import Away, as_client, opened, press, turned, words
from tests.tasks.api.desk import Desk

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


def test_a_style_without_a_draft_leads_to_its_next_version(olga: Client) -> None:
    app = at(olga, "studio-warm")
    assert "There is no draft" in words(app)
    press(app, "Begin the next version")
    draft = olga.own_style("studio-warm").draft
    assert draft is not None
    assert draft.content["backdrop"] == "studio-warm"
    assert field(app, "title").value == "Warm paper"


def test_what_is_typed_is_saved_and_nothing_else_changes(olga: Client) -> None:
    before = made(olga).content
    app = at(olga, "garden")
    field(app, "title").input("Rose garden").run()
    assert "Not saved" in words(app)
    assert app.button(key="style-test").disabled
    press(app, "Save the draft")
    after = drafted(olga).content
    assert after == {**before, "title": "Rose garden"}
    assert "Not saved" not in words(app)


def test_each_finding_stands_at_its_field_and_keeps_the_style_from_being_published(olga: Client) -> None:
    made(olga, licence="LicenseRef-unknown", prompt="{who} like Taylor Swift, {weather}")
    app = at(olga, "garden")
    seen = words(app)
    assert "3 errors" in seen
    assert "Licence: No licence" in seen
    assert "There are age, gender, glasses, traits, who; add a table [traits.weather]." in seen
    assert app.button(key="style-publish").disabled
    field(app, "licence").input("CC0-1.0").run()
    field(app, "prompt").input("{who} in the rain").run()
    press(app, "Save the draft")
    assert "Nothing found" in words(app)
    assert not app.button(key="style-publish").disabled
    press(app, "Publish")
    assert "Version 1 is published" in words(app)
    assert olga.own_style("garden").offered == 1


def test_what_the_api_does_not_take_is_told_at_its_field_and_stays_typed(olga: Client) -> None:
    made(olga)
    app = at(olga, "garden")
    field(app, "title").input("").run()
    press(app, "Save the draft")
    assert "String should have at least 1 character" in words(app)
    assert field(app, "title").value == ""
    assert drafted(olga).content["title"] == "Garden"


def test_of_two_operators_the_slower_is_told_and_loses_nothing(desk: Desk, olga: Client) -> None:
    made(olga)
    app = at(olga, "garden")
    field(app, "prompt").input("{who} among roses").run()
    field(app, "mood").input("calm").run()
    other = as_client(desk, "otto", "operator")
    theirs = {**drafted(other).content, "prompt": "{who} among tulips", "credit": "Otto"}
    other.write_style("garden", theirs, drafted(other).edition)
    press(app, "Save the draft")
    seen = words(app)
    assert "otto changed this draft while you were working on it. Nothing that you typed is lost." in seen
    assert "You changed: Prompt, Mood." in seen or "You changed: Mood, Prompt." in seen
    assert "They changed: Credit, Prompt." in seen or "They changed: Prompt, Credit." in seen
    assert "Prompt: {who} among tulips" in seen
    assert field(app, "prompt").value == "{who} among roses"
    press(app, "Save my changes over theirs")
    now = drafted(olga).content
    assert (now["prompt"], now["mood"], now["credit"]) == ("{who} among roses", "calm", "Otto")


def test_an_api_that_was_away_finds_what_was_typed(olga: Client) -> None:
    made(olga)
    app = at(olga, "garden")
    field(app, "title").input("Rose garden").run()
    app.session_state["client"] = Client("http://nowhere", "pk_x", transport=Away())
    app.run()
    assert app.title[0].value == "One moment"
    app.session_state["client"] = olga
    app.run()
    assert field(app, "title").value == "Rose garden"


def test_an_id_photo_has_a_rule_and_a_background_and_nothing_else(olga: Client) -> None:
    app = press(at(olga, "idphoto-passport"), "Begin the next version")
    field(app, "background").input("#dde4ec").run()
    press(app, "Save the draft")
    draft = olga.own_style("idphoto-passport").draft
    assert draft is not None
    assert (draft.content["preset"], draft.content["background"]) == ("icao", "#dde4ec")
    assert [each for each in app.slider if str(each.key).startswith("field-retouch")] == []


def test_a_person_sees_none_of_it(desk: Desk, olga: Client) -> None:
    made(olga)
    app = opened(as_client(desk))
    for page in ("styles", "style"):
        app.query_params["id"] = "garden"
        assert "Garden" not in words(turned(app, page))


def test_rows_are_added_and_taken_away(olga: Client) -> None:
    made(olga, traits={"hat": {"default": "with a cap", "choices": []}}, prompt="{who}, {hat}, {weather}")
    app = at(olga, "garden")
    field(app, "traits-1-name").input("weather").run()
    field(app, "traits-1-default").input("in the rain").run()
    assert field(app, "traits-2-name").value == ""
    press(app, "Save the draft")
    assert set(drafted(olga).content["traits"]) == {"hat", "weather"}
    field(app, "traits-0-name").input("").run()
    field(app, "prompt").input("{who}, {weather}").run()
    press(app, "Save the draft")
    assert drafted(olga).content["traits"] == {"weather": {"default": "in the rain", "choices": []}}
    assert "Nothing found" in words(app)


def test_a_draft_that_somebody_deletes_meanwhile_can_be_made_again(desk: Desk, olga: Client) -> None:
    made(olga)
    olga.publish_style("garden")
    content = {**olga.own_style("garden").content, "mood": "calm"}
    olga.write_style("garden", content)
    app = at(olga, "garden")
    field(app, "title").input("Rose garden").run()
    as_client(desk, "otto", "operator").delete_draft("garden")
    press(app, "Save the draft")
    assert "Somebody published or deleted this draft" in words(app)
    press(app, "Save my changes over theirs")
    now = drafted(olga).content
    assert (now["title"], now["mood"]) == ("Rose garden", "")


def test_what_was_typed_can_be_dropped_for_what_another_wrote(desk: Desk, olga: Client) -> None:
    made(olga)
    app = at(olga, "garden")
    field(app, "mood").input("calm").run()
    other = as_client(desk, "otto", "operator")
    other.write_style("garden", {**drafted(other).content, "credit": "Otto"}, drafted(other).edition)
    press(app.run(), "Drop mine, show theirs")
    assert (field(app, "mood").value, field(app, "credit").value) == ("", "Otto")
    assert drafted(olga).content["mood"] == ""


def test_a_draft_is_deleted_and_a_version_retired_after_being_asked(olga: Client) -> None:
    made(olga)
    olga.publish_style("garden")
    made(olga)
    app = at(olga, "garden")
    press(app, "Delete it")
    assert olga.own_style("garden").status == ["published"]
    assert "There is no draft" in words(app)
    press(app, "Retire it")
    assert olga.own_style("garden").status == ["retired"]
    assert "Version 1 is retired." in words(app)
