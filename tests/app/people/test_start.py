"""The first page, help, and what is erased: for whom, and what is said about it."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.words import translation
from tasks import auth
from tests.app.pages import as_client, open_page, open_test_api, press, visible_text
from tests.tasks.api.harness import ApiHarness

pytestmark = pytest.mark.services


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def test_each_person_has_a_face_counts_and_a_next_step(api: ApiHarness) -> None:
    person = api.prepared_person()
    app = open_page(as_client(api))
    text = visible_text(app)
    assert f"/picture/crop/{as_client(api).person(person).face}" in text
    assert f"/photos?person={person}" in text
    assert f"/results?person={person}" in text
    assert "0 portraits" in text
    assert re.search(rf'href="/create\?person={person}" aria-label="Choose a style: Ann"', text.replace("\\", ""))


def test_a_name_is_changed_in_place(api: ApiHarness) -> None:
    person = api.prepared_person()
    app = open_page(as_client(api))
    assert f'href="/?rename={person}" aria-label="Rename Ann"' in visible_text(app).replace("\\", "")
    app.query_params["rename"] = person
    app.run()
    app.text_input(key=f"name-{person}").input("Anna *B*")
    press(app, "Save")
    assert as_client(api).person(person).name == "Anna *B*"
    assert "<h3>Anna *B*</h3>" in visible_text(app)
    assert "rename" not in app.query_params


def test_an_erasure_says_whom_it_concerned_and_once(api: ApiHarness) -> None:
    ann = api.prepared_person()
    client = as_client(api)
    app = press(open_page(client, "privacy", {"person": ann}), "Erase Ann")
    assert {"Erase for good", "Cancel"} <= {each.label for each in app.button}
    app = open_page(client, "privacy", erased=(client.erase_person(ann), "Ann"))
    assert "Ann was erased" in visible_text(app)
    assert "was erased" not in visible_text(app.run())


def test_a_consent_says_who_agreed_for_whom(api: ApiHarness) -> None:
    client = as_client(api)
    version = client.consent_text("en").version
    client.add_person("Ann", version, "Bea", given_for="proxy", adult=True, language="en")
    assert "Bea agreed for Ann on" in visible_text(open_page(client, "privacy"))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_help_answers_six_questions_and_leads_to_privacy(api: ApiHarness, language: str) -> None:
    app = open_page(as_client(api), "help", language=language)
    shown = "".join(each.proto.body for each in app.get("html"))
    assert all(translation.translate(language, f"help.q{number}") in shown for number in range(1, 7))
    assert "<dd>" in shown
    assert 'href="/privacy"' in shown.partition('<dl class="p-answers">')[2]


def test_a_phone_is_signed_in_by_a_code(api: ApiHarness) -> None:
    stranger = api.anonymous()
    code = auth.create_code(api.context.ledger, "ann", "person", time.time())
    secret = stranger.post("/sessions", json={"code": code}).json()["secret"]
    client = as_client(api, secret=secret)
    app = press(open_page(client, "privacy"), "Open on my phone")
    [link] = [each.value for each in app.code]
    assert "data:image/svg+xml" in visible_text(app)
    assert stranger.post("/sessions", json={"code": link.partition("code=")[2]}).json()["owner"] == "ann"
