"""What the pages say when something is unlike the sunny day, against a real API in this process."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from portrait.errors import UserError
from tasks import schemas
from tasks.client.client import Client
from tasks.jobs import Job
from tasks.ledger.queue import Verdicts
from tasks.ledger.rows import WorkerRow
from tests.app.pages import Away, as_client, office, opened, press, turned, words
from tests.tasks.api.desk import ABLE, Desk, picture

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with office(tmp_path / "home") as desk:
        yield desk


def test_an_api_that_is_away_gives_a_calm_page_that_waits() -> None:
    app = opened(Client("http://nowhere", "pk_x", transport=Away()))
    assert [each.value for each in app.exception] == []
    assert app.title[0].value == "One moment"
    assert "Nothing is lost" in words(app)


def test_a_key_that_opens_nothing_leads_to_the_sign_in_page(desk: Desk) -> None:
    stranger = as_client(desk)
    desk.office.store.access.revoke_key(stranger.keys()[0].id, time.time(), "ann")
    app = opened(stranger)
    assert app.title[0].value == "You are signed out"
    assert "/sign-in" in words(app)


def test_without_people_the_first_page_explains_and_asks_for_consent(desk: Desk) -> None:
    app = opened(as_client(desk))
    assert "1 · Add photos" in words(app)
    app.text_input[0].input("Ann")
    press(app, "Agree and continue")
    assert "Both boxes must be ticked" in words(app)
    assert as_client(desk).people() == []
    for box in app.checkbox:
        box.check()
    press(app, "Agree and continue")
    [person] = as_client(desk).people()
    [consent] = as_client(desk).consents(person.id)
    assert (person.name, consent.text_version, consent.given_by) == ("Ann", "2026-11", "Ann")
    assert app.title[0].value == "Photos"


def test_photos_are_sent_on_at_once_and_judged_and_the_bytes_let_go(desk: Desk) -> None:
    person = as_client(desk).add_person("Ann", "1", "Ann")
    app = opened(as_client(desk), "photos", person=person.id)
    files = [
        ("one.png", picture(1), "image/png"),
        ("junk.jpg", b"no photo", "image/jpeg"),
        ("two.png", picture(2), "image/png"),
    ]
    app.file_uploader[0].set_value(files).run()
    assert sorted(each.name for each in as_client(desk).selfies(person.id)) == ["one.png", "two.png"]
    assert app.file_uploader[0].value == []
    assert "junk.jpg" in words(app)
    assert "could not be read as a photo" in words(app)
    [job] = as_client(desk).jobs(kind="prepare")
    assert job.state == "queued"
    assert "Checking your photos" in words(app)
    desk.finish("prepare")
    assert "2 of 2 photos are good. 6 more photos would help." in words(app.run())


def test_photos_left_out_are_marked_and_the_check_is_offered_again(desk: Desk) -> None:
    desk.person()
    app = opened(as_client(desk), "photos")
    press(app, "Leave out")
    assert "Undo" in words(app)
    assert "Press “Check again” above, and this change counts." in words(app)
    press(app, "Check again")
    assert [job.state for job in as_client(desk).jobs(kind="prepare")] == ["queued", "succeeded"]


def test_a_photo_of_several_people_is_not_offered_for_use(desk: Desk) -> None:
    person = desk.person()
    _judge(desk, person, ["turned_away"])
    seen = words(opened(as_client(desk), "photos"))
    assert "Use anyway" in seen
    _judge(desk, person, ["several_faces", "eyes_closed"])
    seen = words(opened(as_client(desk), "photos"))
    assert "Several people are about equally large" in seen
    assert "eyes look closed" not in seen, "whose eyes, nobody knows"
    assert "Use anyway" not in seen


def test_advice_names_a_fault_only_where_it_is_the_commonest(desk: Desk) -> None:
    client, person = as_client(desk), desk.person()
    client.add_selfies(person, [(f"{number}.png", picture(number)) for number in (1, 2, 3)])
    _judge(desk, person, [], ["blurred"], ["dark"], ["no_face"])
    assert "1 of 4 photos is good. 7 more photos would help." in words(opened(client, "photos"))
    _judge(desk, person, [], ["blurred"], ["dark"], ["dark"])
    assert "7 more photos in good light would help." in words(opened(client, "photos"))


def test_what_was_not_taken_is_told_where_it_was_sent_to_alone(desk: Desk) -> None:
    client = as_client(desk)
    ann, bob = (client.add_person(name, "1", name).id for name in ("Ann", "Bob"))
    lost = {ann: [("junk.jpg", "unreadable", "")]}
    assert "junk.jpg" in words(opened(client, "photos", person=ann, lost=lost))
    assert "junk.jpg" not in words(opened(client, "photos", person=bob, lost=lost))


def test_checks_that_ended_are_not_told_among_the_work(desk: Desk) -> None:
    desk.person()
    assert "Nothing is being made at the moment" in words(opened(as_client(desk), "progress"))


def test_reasons_of_a_failed_check_stand_on_the_photos(desk: Desk) -> None:
    client = as_client(desk)
    person = client.add_person("Ann", "1", "Ann")
    client.add_selfies(person.id, [("me.png", picture(1))])
    client.train(schemas.TrainingOrder.model_validate({"person": person.id}))
    reasons = [{"file": "me.png", "reasons": [{"code": "blurred", "tip": "x"}]}]
    _refuse(desk, UserError("no_usable_photos", "None.", {"photos": reasons}))
    seen = words(opened(client, "photos"))
    assert "None of the photos can be used" in seen
    assert "This photo is blurred" in seen
    assert "Not used" in seen


def test_without_a_worker_styles_say_so_and_to_operators_what_they_need(desk: Desk) -> None:
    desk.person()
    seen = words(opened(as_client(desk), "create"))
    assert "These cannot be drawn here at present" in seen
    assert "No worker for it is running" not in seen
    assert "Not available here: it takes a graphics card" in seen
    operator = as_client(desk, "op", "operator")
    desk.person("op")
    assert "No worker for it is running." in words(opened(operator, "create"))


def test_without_a_worker_a_job_says_what_it_waits_for(desk: Desk) -> None:
    desk.things()
    seen = words(opened(as_client(desk), "progress"))
    assert "This waits for something that only an operator can mend" in seen
    assert "Next in line" in seen


def test_styles_are_chosen_and_asked_for(desk: Desk) -> None:
    person = desk.person()
    _hire(desk)
    app = _choose(opened(as_client(desk), "create"), "studio-warm", "studio-white")
    assert "Warm paper, White: 4 portraits in all." in words(app)
    press(app, "Make 4 portraits")
    assert app.title[0].value == "In progress"
    jobs = as_client(desk).jobs(kind="generate")
    assert sorted(str(job.wants["style"]) for job in jobs) == ["studio-warm", "studio-white"]
    assert {job.wants["people"]["1"] for job in jobs} == {person}


def test_a_spent_quota_is_told_where_it_happened_and_the_page_stays(tmp_path: Path) -> None:
    with office(tmp_path / "home", quotas__portraits_a_day=1) as desk:
        desk.person()
        _hire(desk)
        app = _choose(opened(as_client(desk), "create"), "studio-warm")
        press(app, "Make 2 portraits")
        assert "as many portraits as are allowed in a day" in words(app)
        assert app.title[0].value == "Choose a style"
        assert as_client(desk).jobs(kind="generate") == []


def test_withdrawn_consent_stops_new_work_until_it_is_given_again(desk: Desk) -> None:
    person = desk.person()
    app = opened(as_client(desk), "privacy")
    press(app, "Take consent back")
    assert not as_client(desk).person(person).consent
    for page in ("photos", "create"):
        assert "Consent for Ann was withdrawn" in words(turned(app, page))
    press(turned(app, "privacy"), "Agree again")
    assert as_client(desk).person(person).consent
    assert [each.text_version for each in as_client(desk).consents(person)] == ["1", "2026-11"]


def test_a_failed_job_says_why_and_what_to_do(desk: Desk) -> None:
    client = as_client(desk)
    person = desk.person()
    client.generate(_order(person))
    _refuse(desk, UserError("no_shoulders", "No photo shows the shoulders."))
    app = opened(client, "progress")
    assert "Add one that was taken from a little further away" in words(app)
    assert "Go to photos" in words(app)
    press(app, "Try again")
    assert client.jobs(kind="generate")[0].state == "queued"


def test_a_waiting_job_is_stopped(desk: Desk) -> None:
    client = as_client(desk)
    client.generate(_order(desk.person()))
    app = press(opened(client, "progress"), "Stop")
    assert client.jobs(kind="generate")[0].state == "cancelled"
    assert "This was stopped" in words(app.run())


def test_the_language_can_be_another(desk: Desk) -> None:
    desk.person()
    app = opened(as_client(desk), "photos")
    assert app.title[0].value == "Photos"
    app.session_state["language"] = "zh"
    app.run()
    assert app.title[0].value == "照片"
    assert "/language/en?back=/photos" in words(app)


def test_portraits_come_the_most_alike_first_with_words_and_a_number(desk: Desk) -> None:
    desk.things()
    app = opened(as_client(desk), "results")
    assert "Like you · 0.40" in words(app)
    press(app, "Favourite")
    assert [each.favourite for each in as_client(desk).portraits()] == [True]
    assert "In favourites" in words(app)


def test_one_portrait_is_asked_for_again_with_another_seed_and_gives_its_settings(desk: Desk) -> None:
    things = desk.things()
    _hire(desk)
    app = opened(as_client(desk), "results")
    app.query_params["id"] = things.portrait
    app = turned(app, "portrait")
    assert f"/take/portrait/{things.portrait}" in words(app)
    press(app, "Use these settings")
    assert app.title[0].value == "Choose a style"
    assert "Make 1 portrait" in words(app)
    press(app, "Make 1 portrait")
    newest = as_client(desk).jobs(kind="generate")[0]
    assert (newest.wants["style"], newest.wants["seed"], newest.wants["count"]) == ("studio-warm", 0, 1)


def test_a_portrait_that_is_gone_is_told_in_words(desk: Desk) -> None:
    desk.person()
    app = opened(as_client(desk))
    app.query_params["id"] = "portrait_gone"
    assert "This is not here any more" in words(turned(app, "portrait"))


def test_faces_of_a_group_are_given_people(desk: Desk) -> None:
    person = desk.person()
    client = as_client(desk)
    template = client.add_template("group.png", picture(7))
    job = desk.office.store.queue.claim("w", "cpu", ABLE, time.time(), 60)
    assert job is not None
    faces = [{"left": 0.1 + 0.4 * at, "top": 0.1, "right": 0.4 + 0.4 * at, "bottom": 0.5} for at in range(2)]
    desk.office.store.queue.finish(job, time.time(), _faces(template.id, faces), lambda: None)
    _hire(desk)
    app = _choose(opened(client, "create"), template.id)
    assert "Who is who in group.png?" in words(app)
    second = next(each for each in app.selectbox if each.label.startswith("Face 2"))
    first = next(each for each in app.selectbox if each.label.startswith("Face 1"))
    first.set_value("")
    second.set_value(person).run()
    press(app, "Make 2 portraits")
    newest = client.jobs(kind="generate")[0]
    assert (newest.wants["template"], newest.wants["people"]) == (template.id, {"2": person})


def test_names_are_shown_as_they_are_and_never_as_markup(desk: Desk) -> None:
    client = as_client(desk)
    person = client.add_person("<b>Ann</b>", "1", "Ann")
    client.add_selfies(person.id, [("<img src=x onerror=alert(1)>.png", picture(1))])
    seen = words(opened(client, "photos", person=person.id))
    assert "<img src=x" not in seen
    assert "&lt;img src=x" in seen


def test_erasing_says_what_went(desk: Desk) -> None:
    desk.things()
    client = as_client(desk)
    seen = words(opened(client, "privacy", went=client.erase_me()))
    assert "Erased. This is what went:" in seen
    assert "1 person" in seen
    assert "1 portrait" in seen
    assert as_client(desk).people() == []
    assert "Nothing is kept of you" in seen


def test_pages_of_operators_are_for_operators(desk: Desk) -> None:
    desk.things()
    person = opened(as_client(desk))
    assert turned(person, "board").title[0].value != "Jobs"
    operator = opened(as_client(desk, "op", "operator"), "board")
    assert operator.title[0].value == "Jobs"
    assert "ann" in words(operator)
    press(operator, "Stop")
    assert "Stopped" in words(operator.run())
    press(operator, "Try again")
    assert as_client(desk).jobs(states=["queued"]) != []


@pytest.mark.parametrize("page", ["machinery", "models", "quality", "styles"])
def test_an_operator_sees_how_the_place_is(desk: Desk, page: str) -> None:
    desk.things()
    _hire(desk)
    app = opened(as_client(desk, "op", "operator"), page)
    assert [each.value for each in app.exception] == []
    expected = {
        "machinery": "test-worker",
        "models": "portrait models pull",
        "quality": "0.40",
        "styles": "studio-warm",
    }
    assert expected[page] in words(app)


def _hire(desk: Desk) -> None:
    """A live worker that can draw."""
    now = time.time()
    desk.office.store.staff.arrive(WorkerRow("test-worker", ["cpu"], sorted(ABLE), {}, "cpu", now, now))


def _judge(desk: Desk, person: str, *faults: Sequence[str]) -> None:
    """A worker finds these faults in the photos of a person, one list each."""
    client = as_client(desk)
    client.train(schemas.TrainingOrder.model_validate({"person": person}))
    verdicts = {
        photo.id: {"verdict": "refuse" if found else "use", "reasons": [{"code": each, "tip": ""} for each in found]}
        for photo, found in zip(client.selfies(person), faults, strict=True)
    }
    _refuse(desk, UserError("no_usable_photos", "None."), verdicts)


def _refuse(desk: Desk, error: UserError, verdicts: Verdicts | None = None) -> Job:
    """A worker takes the next job and finds that it cannot be done."""
    job = desk.office.store.queue.claim("w", "cpu", ABLE, time.time(), 60)
    assert job is not None
    return desk.office.store.queue.refuse(job, time.time(), error, verdicts)


def _choose(app: Any, *looks: str) -> Any:
    """Choose styles or pictures."""
    for look in looks:
        app.button(key=f"choose-{look}").click().run()
    return app


def _order(person: str) -> schemas.GenerationOrder:
    return schemas.GenerationOrder.model_validate({"people": {"1": person}, "style": "studio-warm"})


def _faces(template: str, faces: list[dict[str, float]]) -> Any:
    from tasks.ledger.queue import Outcome

    return Outcome(faces=(template, faces))
