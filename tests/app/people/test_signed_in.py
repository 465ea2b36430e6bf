"""Where somebody is signed in, on the page of privacy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.client.client import Client
from tests.app.pages import InProcessTransport, as_client, open_page, open_test_api, press, session_secret, visible_text
from tests.tasks.api.harness import ApiHarness

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def test_sessions_are_listed_and_ended(api: ApiHarness) -> None:
    ann = Client("http://testserver", session_secret(api), transport=InProcessTransport(api))
    for _ in range(2):
        session_secret(api)
    session_secret(api, "ben")
    page = open_page(ann, "privacy")
    text = visible_text(page)
    assert text.count("Signed in on ") == 2
    assert text.count("This browser, since") == 1
    assert "/sign-out/everywhere" in text
    others = [each for each in page.button if each.label == "Sign out there"]
    others[0].click().run()
    assert [each.current for each in ann.sessions()].count(True) == 1
    assert len(ann.sessions()) == 2
    press(page, "Sign out there")
    assert [each.current for each in ann.sessions()] == [True]
    assert len(api.context.ledger.sessions.list("ben", api.context.now())) == 1


def test_a_programs_key_has_no_sessions_to_show(api: ApiHarness) -> None:
    assert "Sign out everywhere" not in visible_text(open_page(as_client(api), "privacy"))


def test_a_page_whose_session_ended_leaves_for_the_sign_in(api: ApiHarness) -> None:
    ann = Client("http://testserver", session_secret(api), transport=InProcessTransport(api))
    page = open_page(ann)
    api.context.ledger.sessions.end_all("ann")
    page.run()
    assert page.title[0].value == "You are signed out"
    assert "/sign-in?ended=1" in visible_text(page)
