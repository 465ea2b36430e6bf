"""The page of one portrait: variations and other shapes of one that was drawn from a prompt."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.pages import as_client, go_to_page, open_page, open_test_api, press, visible_text
from tests.tasks.api.harness import ApiHarness
from tests.tasks.api.test_edits import TEXT, known

SHAPES = ["Landscape 3:2", "Wide 16:9", "Upright 2:3", "Tall 9:16"]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def test_a_portrait_from_a_prompt_gets_variations_and_other_shapes(api: ApiHarness) -> None:
    things, client = api.one_of_each(), as_client(api)
    known(api, things.portrait, TEXT)
    for label, kind in (("Variations", "variations"), ("Wide 16:9", "extend")):
        app = open_page(client, "results")
        app.query_params["id"] = things.portrait
        app = go_to_page(app, "portrait")
        labels = [button.label for button in app.button]
        assert [label for label in labels if label in (*SHAPES, "Square 1:1")] == SHAPES  # it is square
        app = press(app, label)
        assert app.title[0].value == "In progress"
        newest = client.jobs(kind="generate")[0]
        assert newest.wants["edit"]["kind"] == kind
        assert newest.wants["edit"]["portrait"] == things.portrait
        assert newest.wants["count"] == (4 if kind == "variations" else 1)
        assert newest.wants["edit"]["shape"] == (None if kind == "variations" else [16, 9])


def test_other_portraits_cannot_be_edited(api: ApiHarness) -> None:
    things = api.one_of_each()
    known(api, things.portrait, {**TEXT, "style": {"kind": "studio"}})
    app = open_page(as_client(api), "results")
    app.query_params["id"] = things.portrait
    app = go_to_page(app, "portrait")
    assert "More like this" in visible_text(app)
    assert not {"Variations", "Wide 16:9"} & {button.label for button in app.button}


def test_a_refused_edit_shows_its_error(api: ApiHarness) -> None:
    things, client = api.one_of_each(), as_client(api)
    known(api, things.portrait, TEXT)
    app = open_page(client, "results")
    app.query_params["id"] = things.portrait
    app = go_to_page(app, "portrait")
    client.delete_portrait(things.portrait)
    press(app, "Variations")
    assert len(client.jobs(kind="generate")) == 2  # those of before
