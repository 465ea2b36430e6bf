"""`POST /v1/verify`: what it tells strangers, owners and operators, and that it keeps nothing."""

from io import BytesIO
from typing import Any

import PIL.Image
import pytest
from starlette.testclient import TestClient

from pipelines import pictures
from pipelines.marks import invisible, marks, xmp
from pipelines.marks.manifest import Manifest
from portrait.errors import UserError
from tasks.client.client import Client
from tasks.schemas import Role
from tests.tasks.api.harness import ApiHarness, api_server, environment, new_home, open_api, picture
from tests.tasks.api.test_access import all_rows

SOURCE = "compositeSynthetic"


def signed_here(api: ApiHarness, portrait: str = "portrait_1", side: int = 160) -> bytes:
    """A JPEG with the marks of an installation."""
    ours, content = marks.open_marks(api.context.installation.flows.marks), BytesIO()
    image = PIL.Image.open(BytesIO(picture(3, side=side)))
    image.save(content, "JPEG", quality=95, xmp=xmp.packet(SOURCE, {"seed": 1}))
    manifest = Manifest(SOURCE, (), {"seed": 1}, invisible.short_id(portrait))
    return ours.sign(content.getvalue(), "image/jpeg", manifest)


def ask(client: TestClient, content: bytes, name: str = "me.jpg") -> dict[str, Any]:
    answer = client.post("/verify", files={"file": (name, content)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_strangers_are_told_what_was_made_here_and_not_whose_it_is(api: ApiHarness) -> None:
    portrait = api.one_of_each().portrait
    told = ask(api.anonymous(), signed_here(api, portrait))
    assert told == {
        "made_here": "yes",
        "reason": "signed",
        "altered": "no",
        "credentials": "whole",
        "mark": "small",
        "source": SOURCE,
        "signer": told["signer"],
        "generator": told["generator"],
        "short_id": f"{invisible.short_id(portrait):08x}",
        "portrait": "",
    }
    assert told["signer"].startswith("Portrait installation")
    assert told["generator"].startswith("Portrait ")


def test_the_portrait_is_named_to_its_owner_and_to_operators(api: ApiHarness) -> None:
    portrait = api.one_of_each().portrait
    content = signed_here(api, portrait)
    roles: dict[Role, str] = {"person": "ann", "operator": "olga", "admin": "ada"}
    asked = {role: api.client(owner, role) for role, owner in roles.items()}
    assert {role: ask(client, content)["portrait"] for role, client in asked.items()} == dict.fromkeys(asked, portrait)
    assert ask(api.client("eve"), content)["portrait"] == ""
    assert ask(asked["person"], signed_here(api, "portrait_gone"))["portrait"] == ""
    asked["person"].delete(f"/portraits/{portrait}")
    assert ask(asked["person"], content)["portrait"] == ""


def test_the_client_asks_without_a_key(api: ApiHarness) -> None:
    content = signed_here(api)
    with api_server(api) as server, Client(server.url) as client:
        told = client.verify("me.jpg", content)
        assert (told.made_here, told.reason, told.portrait) == ("yes", "signed", "")
        with pytest.raises(UserError) as refused:
            client.verify("me.jpg", b"no picture")
        assert refused.value.code == "unreadable"


def test_a_key_that_opens_nothing_is_refused(api: ApiHarness) -> None:
    answer = api.anonymous("Bearer pk_wrong").post("/verify", files={"file": ("me.png", picture())})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_what_is_strange_here_is_no_portrait_of_ours(api: ApiHarness) -> None:
    told = ask(api.anonymous(), picture(1, side=400))
    assert (told["made_here"], told["reason"], told["altered"]) == ("no", "nothing", "unknown")
    assert not api.context.installation.flows.marks.folder.exists(), "a question makes no keys"
    signed = signed_here(api)
    changed = signed[:-60] + bytes([signed[-60] ^ 1]) + signed[-59:]
    told = ask(api.anonymous(), changed)
    assert (told["made_here"], told["reason"], told["altered"]) == ("unknown", "unfitting", "yes")
    assert told["short_id"] == ""


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "unreadable"),
        (b"no picture", 422, "unreadable"),
        (picture(1)[:300], 422, "unreadable"),
        (b"GIF89a" + bytes(200), 422, "unreadable"),
    ],
    ids=["empty", "text", "cut off", "GIF"],
)
def test_what_is_no_picture_is_refused_with_a_problem(api: ApiHarness, content: bytes, status: int, code: str) -> None:
    answer = api.anonymous().post("/verify", files={"file": ("me.jpg", content)})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_body_without_a_file_is_refused(api: ApiHarness) -> None:
    answer = api.anonymous().post("/verify", files={"files": ("me.jpg", picture())})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_request")


def test_nothing_is_kept_and_nothing_counts_as_use(api: ApiHarness) -> None:
    portrait = api.one_of_each().portrait
    content, ann = signed_here(api, portrait), api.client()
    files, rows, me = api.stored_files(), all_rows(api), ann.get("/me").json()
    for client in (ann, api.anonymous()):
        ask(client, content)
        assert client.post("/verify", files={"file": ("x.jpg", b"x")}).status_code == 422
    assert (api.stored_files(), all_rows(api), ann.get("/me").json()) == (files, rows, me)


def test_a_picture_beyond_the_bounds_is_refused_by_its_header(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    content = BytesIO()
    side = int(pictures.MAX_PIXELS**0.5) + 10
    PIL.Image.new("1", (side, side)).save(content, "PNG")
    answer = api.anonymous().post("/verify", files={"file": ("large.png", content.getvalue())})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_strangers_are_limited_by_address(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = new_home(tmp_path_factory.mktemp("home"))
    with open_api(environment(home, limits__strangers_a_minute=2)) as api:
        stranger = api.anonymous()
        answers = [stranger.post("/verify", files={"file": ("me.png", picture())}) for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429]
        assert answers[2].headers["retry-after"]
