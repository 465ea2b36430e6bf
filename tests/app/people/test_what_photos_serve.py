"""What photos serve, on the pages: cards, advice, styles that are not offered, questions; against a real API."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portrait.errors import OperatorError, UserError
from tasks import schemas
from tasks.ledger.rows import WorkerRow
from tests.app.pages import as_client, open_page, open_test_api, press, visible_text
from tests.app.people.galleries import offered
from tests.tasks.api.harness import CPU_ABILITIES, ApiHarness, picture

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        now = time.time()
        worker = WorkerRow("test-worker", ["cpu"], sorted(CPU_ABILITIES), {}, "cpu", now, now)
        api.context.ledger.workers.register(worker)
        yield api


def _judge(api: ApiHarness, person: str, *judged: dict[str, Any]) -> None:
    """Record what a worker found out about each photo of a person."""
    client = as_client(api)
    client.train(schemas.TrainingRequest.model_validate({"person": person}))
    plain = {"verdict": "use", "reasons": [], "quality": {"total": 0.9}}
    verdicts = {photo.id: plain | each for photo, each in zip(client.selfies(person), judged, strict=True)}
    job = api.context.ledger.queue.claim("w", "cpu", CPU_ABILITIES, time.time(), 60)
    assert job is not None
    api.context.ledger.queue.fail(job, time.time(), UserError("no_usable_photos", "None."), verdicts)


CLOSE_UP = {"uses": {"serves": {"studio": ["very_close"], "idphoto": False, "template": "front"}}}


def test_photos_say_what_they_serve_and_what_would_open_the_rest(api: ApiHarness) -> None:
    person = api.prepared_person()
    assert as_client(api).person(person).serves is None, "photos that were judged before"
    _judge(api, person, CLOSE_UP)
    text = visible_text(open_page(as_client(api), "photos"))
    assert "Good for studio portraits, pictures." in text
    assert "both shoulders, would open ID photos" in text
    assert "would open studio portraits" not in text


def test_styles_that_no_photo_serves_are_not_offered_and_say_why(api: ApiHarness) -> None:
    person = api.prepared_person()
    assert "would open ID photos" not in visible_text(open_page(as_client(api), "create"))
    _judge(api, person, CLOSE_UP)
    app = open_page(as_client(api), "create")
    assert "both shoulders, would open ID photos" in visible_text(app)
    assert "studio-grey" in offered(app)
    assert "idphoto-passport" not in offered(app)
    assert "studio-grey-half" not in offered(app)
    assert "down to the waist" in visible_text(app)


@pytest.mark.parametrize(("answer", "wish"), [("Yes, one person", "include"), ("No, somebody else", "exclude")])
def test_whether_photos_show_one_person_is_asked_and_answered(api: ApiHarness, answer: str, wish: str) -> None:
    person, client = api.prepared_person(), as_client(api)
    client.add_selfies(person, [(f"{number}.png", picture(number)) for number in (1, 2)])
    unsure = {"verdict": "spare", "reasons": [{"code": "maybe_another_person", "tip": ""}], "uses": {"doubt": 1}}
    _judge(api, person, {}, unsure, unsure)
    [question] = client.person(person).questions
    ids = [photo.id for photo in client.selfies(person)]
    assert (question.person, question.unsure) == (ids[:1], ids[1:])
    app = open_page(client, "photos")
    assert "Are these one person?" in visible_text(app)
    press(app, answer)
    assert [photo.wish for photo in client.selfies(person)] == ["", wish, wish]
    assert client.person(person).questions == []
    assert next(job.state for job in client.jobs(kind="prepare")) == "queued"


@pytest.mark.parametrize(("code", "again"), [("no_shoulders", False), ("head_cut", False), ("workers_lost", True)])
def test_what_must_fail_again_is_not_offered_again(api: ApiHarness, code: str, again: bool) -> None:
    person = api.prepared_person()
    order = {"people": {"1": person}, "style": "studio-grey"}
    as_client(api).generate(schemas.GenerationRequest.model_validate(order))
    job = api.context.ledger.queue.claim("w", "cpu", CPU_ABILITIES, time.time(), 60)
    assert job is not None
    branch = OperatorError if again else UserError
    api.context.ledger.queue.fail(job, time.time(), branch(code, "It did not work."))
    app = open_page(as_client(api), "progress")
    assert ("Try again" in [each.label for each in app.button]) == again


def test_what_photos_show_of_a_person_is_offered_and_chosen_by_them(api: ApiHarness) -> None:
    person, client = api.prepared_person(), as_client(api)
    _judge(api, person, {"uses": {"traits": {"expression": "smiling", "glasses": "with glasses"}}})
    app = open_page(client, "photos")
    assert "The photos seem to show: With glasses and Smiling." in visible_text(app)
    assert client.person(person).traits == schemas.Traits()
    app.button(key="take-traits").click().run()
    assert not app.exception
    assert client.person(person).traits == schemas.Traits(glasses="with glasses", expression="smiling")
    assert "The photos seem to show" not in visible_text(app)
    app.pills(key=f"trait-{person}-expression-smiling").set_value("serious").run()
    app.pills(key=f"trait-{person}-glasses-with glasses").set_value(None).run()
    assert not app.exception
    assert client.person(person).traits == schemas.Traits(expression="serious")
