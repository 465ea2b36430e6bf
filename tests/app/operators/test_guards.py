"""The operators' page of guards: faces are blocked and let go, and an age is settled, against a real API."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks.ledger.privacy.blocked_people import BlockedPersonRow
from tasks.ledger.tables import people
from tests.app.pages import as_client, open_page, open_test_api, press, visible_text
from tests.tasks.api.harness import ApiHarness, picture

pytestmark = pytest.mark.services  # starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def test_a_face_is_blocked_by_a_photo(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    read = "tasks.api.routes.admin.guards._read_face"
    monkeypatch.setattr(read, lambda settings, place: {"dlib": [0.5] * 128})
    client, before = as_client(api, "olga", "operator"), api.stored_files()
    app = open_page(client, "guards")
    press(app, "Never draw this face")
    assert "Choose a photo, and write a note" in visible_text(app)
    client.block_face("me.png", picture(), "Letter of 3 May")
    text = visible_text(open_page(client, "guards"))
    assert "Letter of 3 May" in text
    assert "olga" in text
    assert "dlib" in text
    assert api.stored_files() == before


def test_a_face_is_let_go_after_a_question(api: ApiHarness) -> None:
    client = as_client(api, "olga", "operator")
    api.context.ledger.blocked_people.add(BlockedPersonRow("blocked_1", "A *letter*", "olga:key", 1.0, {"dlib": [0.0]}))
    app = open_page(client, "guards")
    press(app, "Let this face be drawn again")
    assert len(client.blocked_people()) == 1, "asked first"
    assert "A \\*letter\\*" in visible_text(app)
    next(each for each in app.button if each.key == "unblock-sure").click().run()
    assert client.blocked_people() == []
    assert "No face is blocked" in visible_text(open_page(client, "guards"))


def test_an_operator_settles_an_age_without_seeing_the_person(api: ApiHarness) -> None:
    person, client = api.prepared_person(), as_client(api, "olga", "operator")
    with api.context.ledger.database.write() as connection:
        connection.execute(sa.update(people).values(asks_guardian=True))
    app = open_page(client, "guards")
    text = visible_text(app)
    assert person in text
    assert "Ann" not in text.replace("ann", "")
    assert "Waits for a parent or guardian" in text
    press(app, "This person is an adult")
    assert "Nobody is being asked" in visible_text(app)
    assert not as_client(api).person(person).guardian_needed


def test_the_page_is_for_operators(api: ApiHarness) -> None:
    assert "never drawn" not in visible_text(open_page(as_client(api), "guards"))
