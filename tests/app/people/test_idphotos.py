"""Rules of ID photos in the app: on the card, on the page of the portrait, and in the order of the gallery."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.pages import as_client, go_to_page, open_page, open_test_api, visible_text
from tests.tasks.api.harness import ApiHarness
from tests.tasks.api.test_edits import known
from tests.tasks.api.test_idphotos import RECIPE


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def test_a_photo_that_breaks_a_rule_is_marked_and_comes_last(api: ApiHarness) -> None:
    things, client = api.one_of_each(), as_client(api)
    api.complete_next_job("draw:studio", count=2)
    known(api, things.portrait, RECIPE)
    app = open_page(client, "results")
    text = visible_text(app)
    assert "Breaks 1 rule" in text
    opened = [button.key for button in app.button if button.key and button.key.startswith("open-")]
    assert len(opened) == 3
    assert opened[-1] == f"open-{things.portrait}"


def test_the_page_of_an_id_photo_shows_every_rule(api: ApiHarness) -> None:
    things = api.one_of_each()
    known(api, things.portrait, RECIPE)
    app = open_page(as_client(api), "results")
    app.query_params["id"] = things.portrait
    text = visible_text(go_to_page(app, "portrait"))
    for part in ("No smile", "≤ 0.1", "Look neutral", "Height of the head", "33.1 mm", "31.5 – 36 mm"):
        assert part in text, part
