"""The page of photos, against a real API in this process: checks by themselves, cards, groups, deletion that can be undone."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.people.selfies import faces
from portrait.errors import OperatorError, UserError
from tasks import schemas
from tasks.client.client import Client
from tasks.jobs import Job
from tests.app.pages import as_client, open_page, open_test_api, press, visible_text
from tests.tasks.api.harness import CPU_ABILITIES, ApiHarness, picture

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop
LEFT, RIGHT = ({"left": 0.1 + 0.5 * at, "top": 0.2, "right": 0.4 + 0.5 * at, "bottom": 0.6} for at in range(2))


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


@pytest.fixture
def client(api: ApiHarness) -> Client:
    return as_client(api)


def add_photos(client: Client, person: str, count: int, start: int = 1) -> None:
    client.add_selfies(person, [(f"{number}.png", picture(number)) for number in range(start, start + count)])


def judge(api: ApiHarness, person: str, *codes: Sequence[str], **more: Any) -> None:
    """Record verdicts as a worker does: photos without codes are used. The check that was requested is the one that ends."""
    photos = api.context.ledger.people.selfies("ann", person)
    verdicts = {
        photo.id: {
            "verdict": "refuse" if each else "use",
            "reasons": [{"code": code, "tip": ""} for code in each],
            **more,
        }
        for photo, each in zip(photos, codes, strict=True)
    }
    job = claim(api)
    api.context.ledger.queue.fail(job, time.time(), UserError("no_usable_photos", "None."), verdicts)


def claim(api: ApiHarness) -> Job:
    job = api.context.ledger.queue.claim("w", "cpu", CPU_ABILITIES, time.time(), 60)
    assert job is not None, "a check was requested"
    return job


def checks(client: Client) -> list[str]:
    """States of all checks, the newest first."""
    return [job.state for job in client.jobs(kind="prepare")]


def labels(app: AppTest) -> list[str]:
    return [each.label.split(" :gray[")[0] for each in app.button]


def press_on(app: AppTest, label: str, photo: str) -> AppTest:
    """Press the button with this label on the card of a photo, whose name screen readers say with it."""
    return press(app, f"{label} :gray[{photo}]")


def test_photos_that_came_are_checked_by_themselves(api: ApiHarness, client: Client) -> None:
    person = client.add_person("Ann", "2026-11", "Ann").id
    add_photos(client, person, 2)
    app = open_page(client, "photos")
    assert checks(client) == ["queued"]
    assert "Checking your photos" in visible_text(app)
    api.complete_next_job("prepare")
    assert "2 of 8 good photos. 6 more photos would help." in visible_text(app.run())
    assert "Check again" not in labels(app)
    assert checks(client) == ["succeeded"]


def test_every_change_has_photos_checked_again(api: ApiHarness, client: Client) -> None:
    person = api.prepared_person()
    add_photos(client, person, 1)
    app = open_page(client, "photos")
    api.complete_next_job("prepare")
    app.run()
    twin = client.selfies(person)[1].id
    app.button(key=f"wish-{twin}").click().run()
    assert checks(client)[0] == "queued", "left out"
    app.button(key=f"wish-{twin}").click().run()
    assert checks(client) == ["queued", "succeeded", "succeeded"], "one that waits sees later changes too"
    api.complete_next_job("prepare")
    app.run()
    app.button(key=f"delete-{twin}").click().run()
    assert checks(client)[0] == "queued", "deleted: another photo may count now"
    api.complete_next_job("prepare")
    press(app.run(), "Undo")
    assert [photo.id for photo in client.selfies(person)][1:] == [twin]
    app.run()
    assert checks(client)[0] == "queued", "brought back"


def test_a_running_check_that_has_seen_too_little_is_replaced(api: ApiHarness, client: Client) -> None:
    person = api.prepared_person()
    app = open_page(client, "photos")
    add_photos(client, person, 1)
    app.run()
    claim(api)
    add_photos(client, person, 1, start=2)
    app.run()
    assert checks(client) == ["queued", "cancelling", "succeeded"]


def test_a_check_that_failed_is_repeated_by_a_button_alone(api: ApiHarness, client: Client) -> None:
    person = client.add_person("Ann", "2026-11", "Ann").id
    add_photos(client, person, 1)
    app = open_page(client, "photos")
    api.context.ledger.queue.fail(claim(api), time.time(), OperatorError("workers_lost", "It did not."))
    for page in (app.run(), open_page(client, "photos")):
        assert "although it was tried several times" in visible_text(page)
        assert checks(client) == ["failed"]
    press(app, "Try again")
    assert checks(client) == ["queued"]


def test_nothing_is_checked_without_photos(api: ApiHarness, client: Client) -> None:
    client.add_person("Ann", "2026-11", "Ann")
    text = visible_text(open_page(client, "photos"))
    assert checks(client) == []
    assert "Not like this" in text
    assert "/picture/example/blurred" in text


def test_photos_are_deleted_without_a_question_and_brought_back(api: ApiHarness, client: Client) -> None:
    person = api.prepared_person()
    [photo] = client.selfies(person)
    app = open_page(client, "photos")
    press_on(app, "Delete", "me.png")
    assert client.selfies(person) == []
    assert "me.png was deleted." in visible_text(app)
    press(app, "Undo")
    assert [each.id for each in client.selfies(person)] == [photo.id]


def test_several_photos_are_deleted_at_once(api: ApiHarness, client: Client) -> None:
    person = client.add_person("Ann", "2026-11", "Ann").id
    add_photos(client, person, 5)
    app = open_page(client, "photos")
    judge(api, person, [], ["blurred"], ["no_face"], [], ["several_faces"], faces=[LEFT, RIGHT])
    app.run()
    press(app, "Delete the 2 that cannot be used")
    assert [each.name for each in client.selfies(person)] == ["1.png", "4.png", "5.png"], "of a group one may be chosen"
    assert "2 photos were deleted." in visible_text(app)
    press(app, "Undo")
    assert len(client.selfies(person)) == 5
    app.toggle[0].set_value(True).run()
    assert next(each for each in app.button if each.key == "delete-chosen").disabled
    chosen = [each.id for each in client.selfies(person)][:2]
    for id in chosen:
        app.checkbox(key=f"mark-{id}").check().run()
    press(app, "Delete 2 photos")
    assert {each.id for each in client.selfies(person)}.isdisjoint(chosen)


def test_in_a_group_the_person_is_chosen(api: ApiHarness, client: Client) -> None:
    person = client.add_person("Ann", "2026-11", "Ann").id
    add_photos(client, person, 1)
    app = open_page(client, "photos")
    judge(api, person, ["several_faces", "eyes_closed"], faces=[LEFT, RIGHT])
    text = visible_text(app.run())
    assert "Which one is Ann?" in text
    assert "Say above which one is Ann" in text
    assert "eyes look closed" not in text, "whose eyes, nobody knows"
    assert "Use anyway" not in text
    press(app, "Number 2")
    [photo] = client.selfies(person)
    assert photo.face is not None
    assert (photo.face.x, photo.face.y) == pytest.approx((0.75, 0.4))
    assert checks(client)[0] == "queued"
    assert "Which one is Ann?" not in visible_text(app)
    judge(api, person, [], faces=[LEFT, RIGHT])
    press_on(app.run(), "Another face", "1.png")
    assert "Which one is Ann?" in visible_text(app)
    press(app, "Take my answer back")
    assert client.selfies(person)[0].face is None
    assert checks(client)[0] == "queued"
    judge(api, person, ["several_faces"], faces=[LEFT, RIGHT])
    assert "Which one is Ann?" in visible_text(app.run())
    assert "Take my answer back" not in visible_text(app)


def test_the_worker_judges_by_the_face_that_was_chosen() -> None:
    photo = schemas.Selfie.model_construct(  # pyrefly: ignore[missing-argument] -- the others are not looked at
        id="a", reasons=[], faces=[schemas.FaceBox(**LEFT), schemas.FaceBox(**RIGHT)], face=None
    )
    assert faces.persons_face(photo) == 0
    for point, at in ((0.2, 0), (0.5, 0), (0.7, 1), (0.99, 1)):
        chosen = photo.model_copy(update={"face": schemas.Point(x=point, y=0.5)})
        assert faces.persons_face(chosen) == at


def test_of_two_people_with_a_photo_each_the_owner_says_who_it_is(api: ApiHarness, client: Client) -> None:
    person = client.add_person("Ann", "2026-11", "Ann").id
    add_photos(client, person, 2)
    app = open_page(client, "photos")
    judge(api, person, [], ["another_person"])
    app.run()
    assert "If this is Ann, say so" in visible_text(app)
    press_on(app, "This is Ann", "2.png")
    assert [each.wish for each in client.selfies(person)] == ["", "include"]
    judge(api, person, ["another_person"], [])
    app.run()
    press_on(app, "This is Ann", "1.png")
    assert [each.wish for each in client.selfies(person)] == ["include", ""], "never both: they are two people"


def test_somebody_else_among_many_photos_is_no_question(api: ApiHarness, client: Client) -> None:
    person = client.add_person("Ann", "2026-11", "Ann").id
    add_photos(client, person, 3)
    app = open_page(client, "photos")
    judge(api, person, [], [], ["another_person"])
    assert "This is Ann" not in labels(app.run())
    assert "Use anyway" in labels(app)


def test_advice_names_a_fault_only_where_it_is_the_commonest(api: ApiHarness, client: Client) -> None:
    person = client.add_person("Ann", "2026-11", "Ann").id
    add_photos(client, person, 4)
    app = open_page(client, "photos")
    judge(api, person, [], ["blurred"], ["dark"], ["no_face"])
    text = visible_text(app.run())
    assert "1 of 8 good photos. 7 more photos would help." in text
    assert "One good photo is enough to begin" in text
    client.train(schemas.TrainingRequest.model_validate({"person": person}))
    judge(api, person, [], ["blurred"], ["dark"], ["dark"])
    assert "7 more photos in good light would help." in visible_text(app.run())


def test_reasons_of_a_failed_check_stand_on_the_photos(api: ApiHarness, client: Client) -> None:
    person = client.add_person("Ann", "2026-11", "Ann").id
    client.add_selfies(person, [("me.png", picture(1))])
    app = open_page(client, "photos")
    reasons = [{"file": "me.png", "reasons": [{"code": "blurred", "tip": "x"}]}]
    error = UserError("no_usable_photos", "None.", {"photos": reasons})
    api.context.ledger.queue.fail(claim(api), time.time(), error)
    text = visible_text(app.run())
    assert "None of the photos can be used" in text
    assert "This photo is blurred" in text
    assert "Not used" in text


def shown_square(box: dict[str, float], width: int, height: int) -> tuple[float, float, float, float]:
    """The part of a photo that a card shows, in pixels of the photo: left, top, right, bottom."""
    photo = schemas.Selfie.model_construct(  # pyrefly: ignore[missing-argument] -- the others are not looked at
        id="a", reasons=[], faces=[schemas.FaceBox(**box)], face=None, width=width, height=height
    )
    html = faces.face_square(photo, "me")
    style = dict(each.split(":") for each in html.split('style="')[1].split('"')[0].split(";"))
    share = {name: float(style[name].removesuffix("%")) / 100 for name in ("width", "height", "left", "top")}
    side_x, side_y = width / share["width"], height / share["height"]
    assert side_x == pytest.approx(side_y, rel=1e-3), "a square, and nothing is distorted"
    left, top = -share["left"] * side_x, -share["top"] * side_y
    return left, top, left + side_x, top + side_y


@pytest.mark.parametrize("shape", [(3000, 4000), (1000, 4000), (4000, 1000), (600, 600)])
@pytest.mark.parametrize("at", [(0.0, 0.0), (0.4, 0.05), (0.7, 0.6), (0.3, 0.85)])
def test_cards_show_the_whole_face(shape: tuple[int, int], at: tuple[float, float]) -> None:
    width, height = shape
    across, down = 0.25 * min(shape) / width, 0.25 * min(shape) / height
    box = {"left": at[0], "top": at[1], "right": min(1, at[0] + across), "bottom": min(1, at[1] + down)}
    left, top, right, bottom = shown_square(box, width, height)
    assert (left, top) >= (-1, -1)
    assert right <= width + 1
    assert bottom <= height + 1
    assert left <= box["left"] * width + 1
    assert top <= box["top"] * height + 1
    assert right >= box["right"] * width - 1
    assert bottom >= box["bottom"] * height - 1
