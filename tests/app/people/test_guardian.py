"""Somebody whose photos may show a child: the pages ask for a parent or guardian, kindly and once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks.ledger.tables import people
from tests.app.pages import as_client, go_to_page, open_page, open_test_api, press, visible_text
from tests.tasks.api.harness import ApiHarness

pytestmark = pytest.mark.services  # starts an API of its own, which is too slow for the inner loop
QUESTION = "Is this a child?"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


@pytest.fixture
def person(api: ApiHarness) -> str:
    """Ann, whose photos ask for a guardian."""
    id = api.prepared_person()
    with api.context.ledger.database.write() as connection:
        connection.execute(sa.update(people).values(asks_guardian=True))
    return id


def test_a_guardian_agrees_once_and_everything_goes_on(api: ApiHarness, person: str) -> None:
    client = as_client(api)
    app = open_page(client, "create")
    text = visible_text(app)
    assert QUESTION in text
    assert "Order" not in text, "no styles before somebody agreed"
    for judged in ("you look", "years old", "seem"):
        assert judged not in text
    press(app, "I agree")
    assert "write your own name" in visible_text(app)
    app.text_input[0].input("Bea")
    app.checkbox[0].check()
    press(app, "I agree")
    assert "tick every box" in visible_text(app)
    assert client.person(person).guardian_needed
    for box in app.checkbox:
        box.check()
    press(app, "I agree")
    assert not client.person(person).guardian_needed
    given = client.consents(person)[-1]
    assert (given.given_by, given.given_for, given.adult, given.language) == ("Bea", "guardian", True, "en")
    assert given.text_hash == client.consent_text("en").sha256
    assert QUESTION not in visible_text(app)
    assert "Given as their legal guardian" in visible_text(go_to_page(app, "privacy"))


def test_every_page_of_the_person_asks(api: ApiHarness, person: str) -> None:
    app = open_page(as_client(api), "photos")
    for page in ("photos", "idphoto", "create"):
        text = visible_text(go_to_page(app, page))
        assert QUESTION in text
        assert person in text, "the number that an operator asks for"


def test_in_chinese_too(api: ApiHarness, person: str) -> None:
    text = visible_text(open_page(as_client(api), "create", language="zh"))
    assert "照片中是未成年人吗？" in text
    assert "我同意" in text
