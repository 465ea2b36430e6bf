"""The page of one portrait: what one that was drawn of words can become."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.pages import as_client, office, opened, press, turned, words
from tests.tasks.api.desk import Desk
from tests.tasks.api.test_edits import TEXT, known

SHAPES = ["Landscape 3:2", "Wide 16:9", "Upright 2:3", "Tall 9:16"]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with office(tmp_path / "home") as desk:
        yield desk


def test_a_portrait_drawn_of_words_is_varied_and_given_another_shape(desk: Desk) -> None:
    things, client = desk.things(), as_client(desk)
    known(desk, things.portrait, TEXT)
    for label, kind in (("Variations", "variations"), ("Wide 16:9", "extend")):
        app = opened(client, "results")
        app.query_params["id"] = things.portrait
        app = turned(app, "portrait")
        labels = [button.label for button in app.button]
        assert [label for label in labels if label in (*SHAPES, "Square 1:1")] == SHAPES  # it is square
        app = press(app, label)
        assert app.title[0].value == "In progress"
        newest = client.jobs(kind="generate")[0]
        assert newest.wants["edit"]["kind"] == kind
        assert newest.wants["edit"]["portrait"] == things.portrait
        assert newest.wants["count"] == (4 if kind == "variations" else 1)
        assert newest.wants["edit"]["shape"] == (None if kind == "variations" else [16, 9])


def test_other_portraits_offer_nothing_of_the_kind(desk: Desk) -> None:
    things = desk.things()
    known(desk, things.portrait, {**TEXT, "style": {"kind": "studio"}})
    app = opened(as_client(desk), "results")
    app.query_params["id"] = things.portrait
    app = turned(app, "portrait")
    assert "More like this" in words(app)
    assert not {"Variations", "Wide 16:9"} & {button.label for button in app.button}


def test_what_is_refused_is_told_in_words(desk: Desk) -> None:
    things, client = desk.things(), as_client(desk)
    known(desk, things.portrait, TEXT)
    app = opened(client, "results")
    app.query_params["id"] = things.portrait
    app = turned(app, "portrait")
    client.delete_portrait(things.portrait)
    press(app, "Variations")
    assert len(client.jobs(kind="generate")) == 2  # those of before
