"""The page of styles: groups, what is chosen in the address, one order, own pictures; against a real API in this process."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.components import style_titles
from app.people.ordering import faces, gallery
from portrait.errors import UserError
from tasks import schemas
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import WorkerRow
from tests.app.pages import as_client, go_to_page, open_page, open_test_api, press, visible_text
from tests.app.people.galleries import address, choose, offered, sections
from tests.tasks.api.harness import CPU_ABILITIES, ApiHarness, picture

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home", quotas__portraits_a_day=6) as api:
        now = time.time()
        able = sorted(CPU_ABILITIES | {"draw:idphoto"})
        api.context.ledger.workers.register(WorkerRow("w", ["cpu"], able, {}, "cpu", now, now))
        yield api


def _add_picture(api: ApiHarness, **found: Any) -> str:
    """An own picture that a worker has looked at."""
    id = as_client(api).add_template("party.png", picture(7)).id
    job = api.context.ledger.queue.claim("w", "cpu", CPU_ABILITIES, time.time(), 60)
    assert job is not None
    if found:
        api.context.ledger.queue.finish(job, time.time(), Outcome(faces=(id, found["faces"])), lambda: None)
    else:
        api.context.ledger.queue.fail(job, time.time(), UserError("template_no_face", "No face was found."))
    return id


FACE = {"left": 0.1, "top": 0.1, "right": 0.4, "bottom": 0.5}


def test_styles_stand_in_groups_and_the_address_says_which(api: ApiHarness) -> None:
    api.prepared_person()
    app = open_page(as_client(api), "create")
    assert [each["title"] for each in sections(app)] == ["Backdrops", "Places", "Pictures", "ID photos"]
    assert "Your clothes and hair stay as they are in your photo." in visible_text(app)
    app.query_params["group"] = "place"
    app.run()
    assert set(offered(app)) >= {"studio-city", "studio-office"}
    assert "studio-grey" not in offered(app)
    app.query_params["group"] = "idphoto"
    assert "/idphoto?person=" in visible_text(app.run())


def test_cards_of_studios_show_the_person_and_name_what_a_press_does(api: ApiHarness) -> None:
    person = api.prepared_person()
    card = offered(open_page(as_client(api), "create"))["studio-warm"]
    assert card["picture"] == f"/picture/own_style/studio-warm.{person}?side=480"
    assert (card["label"], card["title"]) == ("Choose Warm paper", "Warm paper")


def test_a_new_visit_with_the_address_has_the_same_choices(api: ApiHarness) -> None:
    api.prepared_person()
    app = choose(open_page(as_client(api), "create"), "studio-warm", "studio-white")
    again = open_page(as_client(api))
    for name in ("person", "styles"):
        again.query_params[name] = address(app, name)
    again = go_to_page(again, "create")
    assert "2 portraits in all." in visible_text(again)
    again = again.button(key="leave-studio-warm").click().run()
    assert address(again, "styles") == "studio-white"
    assert "1 portrait in all." in visible_text(again)


def test_a_choice_that_is_not_there_any_more_is_told_and_left_out(api: ApiHarness) -> None:
    api.prepared_person()
    app = choose(open_page(as_client(api), "create"), "studio-warm", "launch-day", "template_gone")
    assert "A style and A picture of your own cannot be chosen any more" in visible_text(app), "no ids"
    assert "1 portrait in all." in visible_text(app)


def test_one_order_is_placed_and_the_page_goes_to_its_progress(api: ApiHarness) -> None:
    api.prepared_person()
    app = choose(open_page(as_client(api), "create"), "studio-warm", "idphoto-us")
    next(each for each in app.selectbox if each.label == "Size").set_value("square").run()
    next(each for each in app.segmented_control if each.label == "How many of each").set_value(2).run()
    assert "ID photos have the size of their rule." in visible_text(app)
    assert "portraits from one photo differ little" in visible_text(app)
    app = press(app, "Make 3 portraits")
    assert app.title[0].value == "In progress"
    jobs = {str(job.wants["style"]): job for job in as_client(api).jobs(kind="generate")}
    assert {job.order for job in jobs.values()} == {address(app, "order")}
    assert {id: job.wants["count"] for id, job in jobs.items()} == {"studio-warm": 2, "idphoto-us": 1}
    assert jobs["studio-warm"].wants["size"] == [1536, 1536]
    assert not jobs["idphoto-us"].wants.get("size")
    assert "Choose at least one style" in visible_text(go_to_page(app, "create")), "nothing stays chosen"


def test_a_refused_order_names_the_style_and_places_nothing(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    api.prepared_person()
    client = as_client(api)
    app = choose(open_page(client, "create"), "studio-warm", "studio-white")
    found = {"errors": [{"where": "generations.1", "code": "quota_portraits", "message": "x"}]}

    def refuse(*_: object) -> None:
        raise UserError("quota_portraits", "Too many.", found)

    monkeypatch.setattr(client, "place_order", refuse)
    text = visible_text(press(app, "Make 2 portraits"))
    assert "Nothing was ordered." in text
    assert "White: You have asked for as many portraits as are allowed in a day" in text.replace("\\", "")
    assert address(app, "styles") == "studio-warm,studio-white"


def test_the_skin_tone_of_a_picture_is_asked_for(api: ApiHarness) -> None:
    api.prepared_person()
    app = choose(open_page(as_client(api), "create"), "astronaut")
    next(each for each in app.segmented_control if each.label == "Skin tone in pictures").set_value("template").run()
    press(app, "Make 1 portrait")
    assert as_client(api).jobs(kind="generate")[0].wants["skin"] == "template"


def test_a_place_marked_by_hand_is_ordered(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    person, id = api.prepared_person(), _add_picture(api, faces=[FACE])
    marked = [{"x": 0.7, "y": 0.25}, {"x": 3, "y": -1}]
    monkeypatch.setattr(faces.parts, "component", lambda _: lambda **_: {"places": marked})
    app = choose(open_page(as_client(api), "create"), id)
    assert "Who is who in party.png?" in visible_text(app)
    next(each for each in app.selectbox if each.label == "The person at place 3").set_value("").run()
    press(app, "Make 1 portrait")
    wants = as_client(api).jobs(kind="generate")[0].wants
    [template] = as_client(api).templates()
    point = [0.7 * template.width, 0.25 * template.height]
    assert (wants["people"], wants["places"]) == ({"1": person, "2": person}, {"2": point})


def test_a_picture_without_a_found_face_can_be_chosen_and_marked(api: ApiHarness) -> None:
    api.prepared_person()
    id = _add_picture(api)
    app = choose(open_page(as_client(api), "create"), id)
    assert "mark the place of the face by hand" in offered(app)[id]["note"]
    assert "Mark the place of a face in the picture." in visible_text(app)


def test_own_pictures_are_named_and_deleted_with_a_way_back(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    api.prepared_person()
    id, client = _add_picture(api, faces=[FACE]), as_client(api)
    app = choose(open_page(client, "create"), id)
    assert (offered(app)[id]["title"], offered(app)[id]["removeLabel"]) == ("party.png", "Delete party.png")
    monkeypatch.setattr(gallery.parts, "component", lambda _: lambda **_: {"remove": id})
    app.run()
    monkeypatch.undo()
    assert client.templates() == []
    assert "party.png was deleted." in visible_text(app.run())
    assert address(app, "styles") == ""
    press(app, "Undo")
    assert [each.id for each in client.templates()] == [id]


def test_own_pictures_are_grey_where_no_photo_faces_the_camera(api: ApiHarness) -> None:
    api.prepared_person()
    id = _add_picture(api, faces=[FACE])
    person = as_client(api).people()[0]
    assert gallery.what_opens_pictures(person) == "", "what photos serve is not known"
    serves = schemas.Serves(studio=["close"], idphoto=False, template=[], training=False)
    served = person.model_copy(update={"serves": serves})

    class Served(type(as_client(api))):
        def people(self) -> list[schemas.Person]:
            return [served]

    client = as_client(api)
    client.__class__ = Served
    app = choose(open_page(client, "create"), id)
    assert id not in offered(app)
    assert "would open portraits in pictures" in visible_text(app)
    assert "party.png cannot be chosen any more" in visible_text(app).replace("\\", "")


def test_a_visit_asks_for_the_styles_once_in_a_while(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    api.prepared_person()
    client, asked = as_client(api), []
    fetch = client.styles
    monkeypatch.setattr(client, "styles", lambda: asked.append(1) or fetch())
    choose(open_page(client, "create"), "studio-warm").run()
    assert len(asked) == 1


def test_own_pictures_are_called_by_their_names() -> None:
    titles = {"studio-warm": "Warm paper", "template_1": "beach.png"}
    assert [style_titles.display_name(id, titles) for id in ("studio-warm", "template_1", "gone")] == [
        "Warm paper",
        "beach.png",
        "gone",
    ]


def test_a_click_in_one_gallery_leaves_what_was_chosen_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[str]] = []
    sent = {"picked": {"chosen": ["template_1", "studio-white"], "clicks": 3}}
    monkeypatch.setattr(gallery.st, "session_state", {"gallery-styles": sent})
    monkeypatch.setattr(gallery.choices, "chosen", lambda: ["template_2", "studio-warm"])
    monkeypatch.setattr(gallery.choices, "choose", made.append)
    gallery._follow("gallery-styles", ["studio-warm", "studio-white"])
    assert made == [["template_2", "studio-white"]]
