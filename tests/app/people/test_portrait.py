"""The page of one portrait: the ones beside it, what can be done with it, edits, what it is compared with."""

from collections.abc import Iterator
from itertools import count

import httpx
import pytest
from streamlit.testing.v1 import AppTest

from app.people.gallery import actions, edits
from tasks import schemas
from tasks.client.client import Client
from tests.app.pages import InProcessTransport, as_client, open_page, open_test_api, press, visible_text
from tests.app.people.galleries import component_data
from tests.tasks.api.harness import ApiHarness, OwnedIds
from tests.tasks.api.test_edits import TEXT, drawn_on, known
from tests.tasks.api.test_generation_options import register_worker

SHAPES = ["Landscape 3:2", "Wide 16:9", "Upright 2:3", "Tall 9:16"]
_NUMBERS = count()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path_factory.mktemp("api") / "home") as api:
        yield api


@pytest.fixture
def things(api: ApiHarness) -> Iterator[OwnedIds]:
    """Of somebody with a portrait drawn of words, whom no other test has."""
    made = api.one_of_each(f"ann{next(_NUMBERS)}")
    known(api, made.portrait, TEXT)
    yield made
    cancel_waiting(as_client(api, made.owner))


def cancel_waiting(client: Client) -> None:
    """Cancel what waits, or the next test would do it for its own."""
    for job in client.jobs(["queued"]):
        client.cancel(job.id)


def portrait_page(client: Client, id: str, edit: str = "", **address: str) -> AppTest:
    """The page of a portrait; with an edit, the form of that one is open."""
    state = {"edits": True, "edit-kind": edit} if edit else {}
    return open_page(client, "portrait", {"id": id, **address}, **state)


def test_a_portrait_from_a_prompt_gets_variations(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    app = press(portrait_page(client, things.portrait, "variations"), "Make 4 variations")
    assert app.title[0].value == "In progress"
    newest = client.jobs(kind="generate")[0]
    assert (newest.wants["edit"]["kind"], newest.wants["edit"]["portrait"]) == ("variations", things.portrait)
    assert newest.wants["count"] == 4


def test_a_portrait_is_changed_by_words_and_not_without(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    app = press(portrait_page(client, things.portrait, "change"), "Make it")
    assert "Say in a few words" in visible_text(app)
    app.text_input[0].input("with a red scarf")
    press(app, "Make it")
    assert client.jobs(kind="generate")[0].wants["edit"]["words"] == "with a red scarf"


def test_words_are_an_instruction_where_a_worker_is_ready_for_it(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    known(api, things.portrait, {**TEXT, "drawn": {"base": "flux2_klein"}})
    register_worker(api, "base:flux2_klein:instruct")
    drawn_on(api, things.drawn, "flux2_klein", things.owner)
    app = portrait_page(client, things.portrait, "instruct")
    app.text_area[0].input("Give her\nthis coat.")
    app.selectbox(key="instruct-picture").select(things.template)
    press(app, "Make it")
    made = client.jobs(kind="generate")[0].wants["edit"]
    assert (made["kind"], made["words"], made["with"]) == ("instruct", "Give her this coat.", [things.template])


def test_shapes_that_a_portrait_does_not_have_yet_are_offered(api: ApiHarness, things: OwnedIds) -> None:
    offered = edits.shapes_of(as_client(api, things.owner).portrait(things.portrait))
    assert [name for name, _, _ in offered] == SHAPES, "it is square"
    assert offered[1] == ("Wide 16:9", 284, 160)


def test_other_portraits_say_why_they_cannot_be_edited(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    for kind, why in (
        ("studio", "your photo before a backdrop"),
        ("idphoto", "must stay as it was taken"),
        ("", "does not say how"),
    ):
        known(api, things.portrait, {**TEXT, "style": {"kind": kind}})
        app = portrait_page(client, things.portrait, "variations")
        assert why in visible_text(app)
        assert "Make 4 variations" not in {button.label for button in app.button}


def test_every_kind_of_style_says_what_can_be_edited_or_why_not() -> None:
    from typing import get_args

    from app.words import translation
    from portrait.types import StyleKind

    assert set(edits.EDITS_BY_KIND) == set(get_args(StyleKind))
    for kind, possible in edits.EDITS_BY_KIND.items():
        assert possible or f"edit.not_{kind}" in translation.messages("en"), kind


def test_a_refused_edit_shows_its_error_and_the_page_stays(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    app = portrait_page(client, things.portrait, "variations")
    client.withdraw_consent(things.person)
    app = press(app, "Make 4 variations")
    assert [each.value for each in app.warning] != []
    assert app.query_params["id"]
    assert len(client.jobs(kind="generate")) == 2  # those of before


def test_the_settings_of_a_portrait_go_to_the_page_of_styles(api: ApiHarness, things: OwnedIds) -> None:
    app = press(portrait_page(as_client(api, things.owner), things.portrait), "Use these settings")
    assert app.title[0].value == "Choose a style"
    assert (things.person in app.query_params["person"], "studio-warm" in app.query_params["styles"]) == (True, True)
    assert "id" not in app.query_params
    assert app.session_state["settings"]["style"] == "studio-warm"


def test_the_list_in_the_address_has_its_own_neighbours(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    api.complete_next_job("draw:studio", count=2)
    newest, middle, oldest = (each.id for each in client.portrait_page().items)
    client.set_favourite(newest, True)
    client.set_favourite(oldest, True)
    assert _viewer(portrait_page(client, oldest))["previous"] == middle
    shown = _viewer(portrait_page(client, oldest, favourites="1"))
    assert (shown["previous"], shown["next"], shown["place"]) == (newest, "", "2 of 2")


def test_a_deleted_portrait_can_be_brought_back_and_the_next_one_is_shown(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    api.complete_next_job("draw:studio", count=1)
    [newest, oldest] = client.portrait_page().items
    app = press(portrait_page(client, newest.id), "Delete")
    assert "was deleted" in visible_text(app)
    assert oldest.id in app.query_params["id"]
    assert [each.id for each in client.portrait_page().items] == [oldest.id]
    press(app, "Undo")
    assert [each.id for each in client.portrait_page().items] == [newest.id, oldest.id]


def test_a_portrait_gets_a_name(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    app = open_page(client, "portrait", {"id": things.portrait}, name=True)
    next(each for each in app.text_input if each.label == "Name of this portrait").input("Ann *1*")
    app = press(app, "Save the name")
    assert client.portrait(things.portrait).name == "Ann *1*"
    assert app.header[0].value == "Ann \\*1\\*", "no Markdown in names"


def test_a_portrait_that_is_gone_is_told_with_the_way_back(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    client.delete_portrait(things.portrait)
    app = portrait_page(client, things.portrait)
    assert "not there any more" in visible_text(app)
    app = press(app, "All portraits")
    assert app.title[0].value == "Your portraits"
    assert "id" not in app.query_params


def test_what_is_known_stands_under_about_the_number_with_what_it_means(api: ApiHarness, things: OwnedIds) -> None:
    known(api, things.portrait, {**TEXT, "drawn": {"base": "sd-turbo"}})
    text = visible_text(portrait_page(as_client(api, things.owner), things.portrait))
    for part in ("distance 0.40", "0 is the same picture", "Seed 7", "Drawn with sd-turbo", "Kept until"):
        assert part in text, part


@pytest.mark.parametrize(
    ("language", "unread", "told"),
    [
        ("en", 612, "its last 612 tokens"),
        ("en", 1, "its last token"),
        ("zh", 612, "末尾 612 个词元未被采用"),
    ],
)
def test_what_a_model_did_not_read_of_a_prompt_stands_under_about(
    api: ApiHarness, things: OwnedIds, language: str, unread: int, told: str
) -> None:
    client = as_client(api, things.owner)
    known(api, things.portrait, {**TEXT, "drawn": {"base": "sdxl", "unread_tokens": unread}})
    assert told in visible_text(open_page(client, "portrait", {"id": things.portrait}, language=language))
    known(api, things.portrait, {**TEXT, "drawn": {"base": "sdxl"}})
    text = visible_text(open_page(client, "portrait", {"id": things.portrait}, language=language))
    assert "token" not in text
    assert "词元" not in text


def test_the_page_asks_the_api_little(api: ApiHarness, things: OwnedIds, monkeypatch: pytest.MonkeyPatch) -> None:
    client, asked = as_client(api, things.owner), []
    plain = InProcessTransport.handle_request

    def counted(self: InProcessTransport, request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url.path))
        return plain(self, request)

    app = portrait_page(client, things.portrait)
    monkeypatch.setattr(InProcessTransport, "handle_request", counted)
    app.run()
    assert len([path for path in asked if path != "/v1/me"]) <= 4, asked


def test_a_comparison_lays_the_photo_it_was_drawn_from_over_the_portrait(api: ApiHarness, things: OwnedIds) -> None:
    eyes = {"portrait": [0.4, 0.4, 0.6, 0.4], "photo": [0.3, 0.5, 0.5, 0.6], "photo_aspect": 1.0}
    known(api, things.portrait, {**TEXT, "photos": {"1": things.selfie}, "drawn": {"eyes": {"1": eyes}}})
    app = open_page(as_client(api, things.owner), "portrait", {"id": things.portrait}, compare=True)
    data = _component(app, "compare")
    assert (data["eyes"], data["goal"]) == (eyes["photo"], eyes["portrait"])
    assert f"/picture/before/{things.portrait}" in str(data["before"])
    assert "The eyes lie on each other" in visible_text(app)
    known(api, things.portrait, TEXT)
    app = app.run()
    assert _component(app, "compare")["eyes"] is None
    assert "was not measured" in visible_text(app)


def test_more_like_it_takes_over_all_but_the_seed(api: ApiHarness, things: OwnedIds) -> None:
    client = as_client(api, things.owner)
    before = client.job(things.drawn)
    order = actions.order_like(before)
    assert (order.style, dict(order.people)) == ("studio-warm", {"1": things.person})
    sized = before.model_copy(update={"wants": {**before.wants, "size": [800, 1000]}})
    assert actions.order_like(sized).size == schemas.PictureSize(width=800, height=1000)


def _viewer(app: AppTest) -> dict[str, object]:
    return _component(app, "viewer")


def _component(app: AppTest, name: str) -> dict[str, object]:
    """The data of a component on a page."""
    [data] = component_data(app, name)
    return data


def test_what_is_to_be_handed_on_is_said_where_a_picture_is_taken_home(api: ApiHarness, things: OwnedIds) -> None:
    drawn = {"base": "sdxl", "looks": {"lcm_sdxl": 1.0}, "models": {"ip_adapter_sdxl/a.safetensors": "0"}}
    known(api, things.portrait, {**TEXT, "drawn": drawn})
    client = as_client(api, things.owner)
    [terms] = client.portrait(things.portrait).terms
    assert (terms.licence, terms.models) == ("CreativeML-OpenRAIL++-M", ["sdxl", "lcm_sdxl"])
    app = open_page(client, "portrait", {"id": things.portrait}, download=True)
    [told] = [each.value for each in app.caption if "The licence" in each.value]
    assert told.startswith("The uses that the licence lists in its Attachment A are forbidden with this picture")
    assert told.endswith(f"[The licence]({terms.page})")
    known(api, things.portrait, TEXT)
    assert client.portrait(things.portrait).terms == []
