"""Rules of ID photos in the app: on the card, on the page of the portrait, and in the order of the gallery."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks.ledger.tables import portraits
from tests.app.pages import as_client, open_page, open_test_api, visible_text
from tests.tasks.api.harness import ApiHarness
from tests.tasks.api.test_edits import known
from tests.tasks.api.test_idphotos import RECIPE


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def test_a_photo_that_breaks_a_rule_is_marked_and_comes_last_by_likeness(api: ApiHarness) -> None:
    things, client = api.one_of_each(), as_client(api)
    api.complete_next_job("draw:studio", count=2)
    known(api, things.portrait, RECIPE)
    with api.context.ledger.database.write() as connection:
        best = sa.update(portraits).where(portraits.c.id == things.portrait).values(rules_broken=1, distance=0.1)
        connection.execute(best)
    app = open_page(client, "results", {"sort": "likeness"})
    assert "Breaks 1 rule" in visible_text(app)
    shown = [str(box.key) for box in app.checkbox if str(box.key).startswith("select-")]
    assert len(shown) == 3
    assert shown[-1] == f"select-{things.portrait}"


def test_the_page_of_an_id_photo_shows_every_rule(api: ApiHarness) -> None:
    things = api.one_of_each()
    known(api, things.portrait, RECIPE)
    text = visible_text(open_page(as_client(api), "portrait", {"id": things.portrait}))
    for part in ("No smile", "≤ 0.1", "Look neutral", "Height of the head", "33.1 mm", "31.5 – 36 mm"):
        assert part in text, part
