"""The pages of people and operators, mostly when something fails, against a real API in this process."""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from portrait.errors import OperatorError, PortraitError, UserError
from tasks import schemas
from tasks.client.client import Client
from tasks.jobs import Job
from tasks.ledger.queue import Verdicts
from tasks.ledger.rows import WorkerRow
from tasks.ledger.tables import identities
from tests.app.pages import UnreachableTransport, as_client, go_to_page, open_page, open_test_api, press, visible_text
from tests.app.people.galleries import choose, picker_addresses
from tests.tasks.api.harness import CPU_ABILITIES, ApiHarness, picture

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def test_an_unreachable_api_gives_a_page_that_waits() -> None:
    app = open_page(Client("http://nowhere", "pk_x", transport=UnreachableTransport()))
    assert [each.value for each in app.exception] == []
    assert app.title[0].value == "One moment"
    assert "Nothing is lost" in visible_text(app)


def test_a_revoked_key_leads_to_the_sign_in_page(api: ApiHarness) -> None:
    stranger = as_client(api)
    api.context.ledger.api_keys.revoke(stranger.keys()[0].id, time.time(), "ann")
    app = open_page(stranger)
    assert app.title[0].value == "You are signed out"
    assert "/sign-in" in visible_text(app)


def test_without_people_the_first_page_explains_and_asks_for_consent(api: ApiHarness) -> None:
    app = open_page(as_client(api))
    assert "1 · Add photos" in visible_text(app)
    app.text_input[0].input("Ann")
    press(app, "Agree and continue")
    assert "Both boxes must be ticked" in visible_text(app)
    assert as_client(api).people() == []
    for box in app.checkbox:
        box.check()
    press(app, "Agree and continue")
    assert "say whom the photos show" in visible_text(app)
    app.radio[0].set_value("self")
    press(app, "Agree and continue")
    [person] = as_client(api).people()
    [consent] = as_client(api).consents(person.id)
    assert (person.name, consent.text_version, consent.given_by) == ("Ann", "2027-01", "Ann")
    assert (consent.given_for, consent.adult, consent.language) == ("self", True, "en")
    assert consent.text_hash == as_client(api).consent_text("en").sha256
    assert app.title[0].value == "Photos"


def test_who_agrees_for_somebody_else_gives_their_own_name(api: ApiHarness) -> None:
    app = open_page(as_client(api))
    app.text_input[0].input("Ann")
    for box in app.checkbox:
        box.check()
    app.radio[0].set_value("proxy")
    press(app, "Agree and continue")
    assert "write your own name" in visible_text(app)
    app.text_input[1].input("Bea")
    press(app, "Agree and continue")
    [person] = as_client(api).people()
    [consent] = as_client(api).consents(person.id)
    assert (person.name, consent.given_by, consent.given_for) == ("Ann", "Bea", "proxy")
    assert "Given for somebody else" in visible_text(go_to_page(app, "privacy"))


def test_portraits_that_are_erased_soon_say_so(api: ApiHarness) -> None:
    things = api.one_of_each()
    assert "not used for long" not in visible_text(open_page(as_client(api), "results"))
    api.context.ledger.retention.keep_person("ann", things.person, time.time() - 25 * 86_400)
    assert "One of these portraits was not used for long" in visible_text(open_page(as_client(api), "results"))


def test_a_picture_of_ones_own_needs_a_statement_first(api: ApiHarness) -> None:
    api.prepared_person()
    _add_worker(api)
    app = open_page(as_client(api), "create")
    assert "Tick this first" in visible_text(app)
    assert picker_addresses(app) == []
    next(each for each in app.checkbox if "has agreed" in each.label).check().run()
    assert picker_addresses(app) == ["/send/templates?statement=2027-01"]


def test_ended_checks_are_not_listed_on_the_page_of_progress(api: ApiHarness) -> None:
    api.prepared_person()
    assert "Nothing is being made at the moment" in visible_text(open_page(as_client(api), "progress"))


def test_without_a_worker_styles_are_unavailable_and_operators_see_why(api: ApiHarness) -> None:
    api.prepared_person()
    text = visible_text(open_page(as_client(api), "create"))
    assert "These cannot be drawn here at present" in text
    assert "No worker for it is running" not in text
    assert "Not available here: it takes a graphics card" in text
    operator = as_client(api, "op", "operator")
    api.prepared_person("op")
    assert "No worker for it is running." in visible_text(open_page(operator, "create"))


def test_without_a_worker_a_job_shows_what_it_waits_for(api: ApiHarness) -> None:
    api.one_of_each()
    text = visible_text(open_page(as_client(api), "progress"))
    assert "This waits for something that only an operator can mend" in text
    assert "Next in line" in text


def test_styles_are_chosen_and_requested(api: ApiHarness) -> None:
    person = api.prepared_person()
    _add_worker(api)
    app = choose(open_page(as_client(api), "create"), "studio-warm", "studio-white")
    assert "2 portraits in all." in visible_text(app)
    press(app, "Make 2 portraits")
    assert app.title[0].value == "In progress"
    jobs = as_client(api).jobs(kind="generate")
    assert sorted(str(job.wants["style"]) for job in jobs) == ["studio-warm", "studio-white"]
    assert {job.wants["people"]["1"] for job in jobs} == {person}


def test_an_exceeded_quota_shows_an_error_and_the_page_stays(tmp_path: Path) -> None:
    with open_test_api(tmp_path / "home", quotas__portraits_a_day=1) as api:
        api.prepared_person()
        _add_worker(api)
        app = choose(open_page(as_client(api), "create"), "studio-warm", "studio-white")
        press(app, "Make 2 portraits")
        assert "as many portraits as are allowed in a day" in visible_text(app)
        assert app.title[0].value == "Choose a style"
        assert as_client(api).jobs(kind="generate") == []


def test_withdrawn_consent_stops_new_work_until_it_is_given_again(api: ApiHarness) -> None:
    person = api.prepared_person()
    app = open_page(as_client(api), "privacy")
    press(app, "Take consent back")
    assert not as_client(api).person(person).consent
    for page in ("photos", "create"):
        assert "Consent for Ann was withdrawn" in visible_text(go_to_page(app, page))
    press(go_to_page(app, "privacy"), "Agree")
    assert not as_client(api).person(person).consent, "the text is shown, and the statements are asked for"
    assert "biometric data" in visible_text(app)
    for box in app.checkbox:
        box.check()
    app.radio[0].set_value("self")
    press(app, "Agree")
    assert as_client(api).person(person).consent
    assert [each.text_version for each in as_client(api).consents(person)] == ["1", "2027-01"]


def test_a_failed_job_shows_why_and_the_next_step(api: ApiHarness) -> None:
    client = as_client(api)
    person = api.prepared_person()
    client.generate(_order(person))
    _refuse(api, UserError("no_shoulders", "No photo shows the shoulders."))
    app = open_page(client, "progress")
    assert "Add one that was taken from a little further away" in visible_text(app)
    assert "Go to photos" in visible_text(app)
    assert "Try again" not in visible_text(app), "it must fail again"
    client.generate(_order(person))
    _refuse(api, OperatorError("missing_model", "A model is missing."))
    press(open_page(client, "progress"), "Try again")
    assert client.jobs(kind="generate")[0].state == "queued"


def test_a_waiting_job_is_stopped(api: ApiHarness) -> None:
    client = as_client(api)
    client.generate(_order(api.prepared_person()))
    app = press(open_page(client, "progress"), "Stop")
    assert client.jobs(kind="generate")[0].state == "cancelled"
    assert "Stopped. No portrait was finished." in visible_text(app.run())


def test_the_language_can_be_another(api: ApiHarness) -> None:
    api.prepared_person()
    app = open_page(as_client(api), "photos")
    assert app.title[0].value == "Photos"
    app.session_state["language"] = "zh"
    app.run()
    assert app.title[0].value == "照片"
    assert "/language/en?back=/photos" in visible_text(app)


def test_portraits_are_sorted_by_likeness_and_labelled_with_it(api: ApiHarness) -> None:
    api.one_of_each()
    app = open_page(as_client(api), "results")
    assert "Like Ann" in visible_text(app)
    assert "0.40" not in visible_text(app), "the number stands with the portrait"
    press(app, "Mark “Warm paper” as a favourite")
    assert [each.favourite for each in as_client(api).portraits()] == [True]


def test_the_settings_of_a_portrait_can_be_used_again(api: ApiHarness) -> None:
    things = api.one_of_each()
    _add_worker(api)
    app = open_page(as_client(api), "results")
    app.query_params["id"] = things.portrait
    app = go_to_page(app, "portrait")
    press(app, "Use these settings")
    assert app.title[0].value == "Choose a style"
    assert "Make 1 portrait" in visible_text(app)
    press(app, "Make 1 portrait")
    newest = as_client(api).jobs(kind="generate")[0]
    assert (newest.wants["style"], newest.wants["seed"], newest.wants["count"]) == ("studio-warm", 0, 1)


def test_a_deleted_portrait_shows_an_error(api: ApiHarness) -> None:
    api.prepared_person()
    app = open_page(as_client(api))
    app.query_params["id"] = "portrait_gone"
    assert "This portrait is not there any more" in visible_text(go_to_page(app, "portrait"))


def test_faces_of_a_group_are_assigned_to_people(api: ApiHarness) -> None:
    person = api.prepared_person()
    client = as_client(api)
    template = client.add_template("group.png", picture(7))
    job = api.context.ledger.queue.claim("w", "cpu", CPU_ABILITIES, time.time(), 60)
    assert job is not None
    faces = [{"left": 0.1 + 0.4 * at, "top": 0.1, "right": 0.4 + 0.4 * at, "bottom": 0.5} for at in range(2)]
    api.context.ledger.queue.finish(job, time.time(), _faces(template.id, faces), lambda: None)
    _add_worker(api)
    app = choose(open_page(client, "create"), template.id)
    assert "Who is who in group.png?" in visible_text(app)
    second = next(each for each in app.selectbox if each.label.startswith("Face 2"))
    first = next(each for each in app.selectbox if each.label.startswith("Face 1"))
    first.set_value("")
    second.set_value(person).run()
    press(app, "Make 1 portrait")
    newest = client.jobs(kind="generate")[0]
    assert (newest.wants["template"], newest.wants["people"]) == (template.id, {"2": person})


def test_names_are_escaped(api: ApiHarness) -> None:
    client = as_client(api)
    person = client.add_person("<b>Ann</b>", "2026-11", "Ann")
    client.add_selfies(person.id, [("<img src=x onerror=alert(1)>.png", picture(1))])
    text = visible_text(open_page(client, "photos", person=person.id))
    assert "<img src=x" not in text.replace("\\<", ""), "in HTML as text, and in Streamlit's Markdown behind a stroke"
    assert "&lt;img src=x" in text


def test_erasing_lists_what_was_erased(api: ApiHarness) -> None:
    api.one_of_each()
    client = as_client(api)
    text = visible_text(open_page(client, "privacy", erased=(client.erase_me(), "")))
    assert "Everything was erased. This is what went:" in text
    assert "1 person" in text
    assert "1 portrait" in text
    assert as_client(api).people() == []
    assert "Nothing is kept of you" in text


def test_what_was_learned_from_a_deleted_photo_is_told_and_can_be_erased(api: ApiHarness) -> None:
    things, ledger = api.one_of_each(), api.context.ledger
    (made,) = ledger.people.identities("ann", things.person)
    with ledger.database.write() as connection:
        learned = replace(made, id="identity_learned", base="sdxl", stale=1_000_000.0)
        connection.execute(sa.insert(identities).values(asdict(learned)))
    page = open_page(as_client(api), "privacy")
    assert "comes partly from a photo that was deleted" in visible_text(page)
    press(page, "Erase what was learned")
    assert "comes partly" not in visible_text(page)
    assert [row.id for row in ledger.people.identities("ann", things.person)] == [made.id]


def test_pages_of_operators_are_for_operators(api: ApiHarness) -> None:
    things = api.one_of_each()
    person = open_page(as_client(api))
    assert go_to_page(person, "board").title[0].value != "Jobs"
    operator = open_page(as_client(api, "op", "operator"), "board")
    assert operator.title[0].value == "Jobs"
    assert "ann" in visible_text(operator)
    assert f'href="/board?id={things.waiting}"' in visible_text(operator).replace("\\", "")
    operator.query_params["id"] = things.waiting
    operator.run()
    press(operator, "Stop")
    assert "Stopped" in visible_text(operator.run())
    press(operator, "Try again")
    assert as_client(api).jobs(states=["queued"]) != []


@pytest.mark.parametrize("page", ["machinery", "models", "quality", "styles"])
def test_operators_pages_show_the_installation(api: ApiHarness, page: str) -> None:
    api.one_of_each()
    _add_worker(api)
    app = open_page(as_client(api, "op", "operator"), page)
    assert [each.value for each in app.exception] == []
    expected = {
        "machinery": "test-worker",
        "models": "portrait models pull",
        "quality": "0.40",
        "styles": "studio-warm",
    }
    assert expected[page] in visible_text(app)


def _add_worker(api: ApiHarness) -> None:
    """Register a live worker that can draw."""
    now = time.time()
    api.context.ledger.workers.register(WorkerRow("test-worker", ["cpu"], sorted(CPU_ABILITIES), {}, "cpu", now, now))


def _refuse(api: ApiHarness, error: PortraitError, verdicts: Verdicts | None = None) -> Job:
    """A worker claims the next job and fails it with this error."""
    job = api.context.ledger.queue.claim("w", "cpu", CPU_ABILITIES, time.time(), 60)
    assert job is not None
    return api.context.ledger.queue.fail(job, time.time(), error, verdicts)


def _order(person: str) -> schemas.GenerationRequest:
    return schemas.GenerationRequest.model_validate({"people": {"1": person}, "style": "studio-warm"})


def _faces(template: str, faces: list[dict[str, float]]) -> Any:
    from tasks.ledger.queue import Outcome

    return Outcome(faces=(template, faces))
