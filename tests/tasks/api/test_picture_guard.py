"""The guard of pictures at the API's doors: photos, pictures of one's own, pictures of styles, styles shown with a person."""

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from pipelines.folders import cut_outs
from tests import guard_network
from tests.cut_out_person import cut_out
from tests.tasks.api.harness import STUDIO, ApiHarness, environment, new_home, open_api, picture

ABSENT = {"off": {"GUARDS__PICTURES": ""}, "missing": {}, "failing": {}}
"""Settings of an installation in which no guard judges, by what is wrong with it."""


@pytest.fixture
def guarded(tmp_path: Path) -> "Iterator[Callable[..., ApiHarness]]":
    """Opens an API on an installation whose network may have been written, with settings on top."""
    opened = []

    def open_it(**settings: str) -> ApiHarness:
        given = environment(new_home(tmp_path / "home")) | {f"PORTRAIT_{key}": settings[key] for key in settings}
        opened.append(open_api(given))
        return opened[-1].__enter__()

    yield open_it
    for each in opened:
        each.__exit__(None, None, None)


def plain(level: int) -> bytes:
    content = io.BytesIO()
    PIL.Image.fromarray(np.full((160, 160, 3), level, np.uint8)).save(content, "PNG")
    return content.getvalue()


def person_of(api: ApiHarness) -> str:
    return api.context.ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id


def send(api: ApiHarness, person: str, *files: tuple[str, bytes]) -> Any:
    return api.client().post(f"/people/{person}/selfies", files=[("files", each) for each in files])


def doors(api: ApiHarness, content: bytes) -> dict[str, Any]:
    """The answers of every door through which a picture comes in."""
    olga = api.client("olga", "operator")
    olga.put("/operator/styles/mine/draft", json={"content": {**STUDIO, "credit": "me"}})
    file = ("it.png", content)
    return {
        "photo": send(api, person_of(api), file),
        "template": api.client().post("/templates", files={"file": file}),
        "style": olga.post("/operator/styles/mine/picture", files={"file": file}),
    }


def test_every_door_is_shut_says_so_and_keeps_nothing(tmp_path: Path, guarded: Callable[..., ApiHarness]) -> None:
    guard_network.write(tmp_path / "home", 0.9)
    api = guarded()
    for door, answer in doors(api, picture(1)).items():
        problem = answer.json()
        assert (door, answer.status_code, problem["code"]) == (door, 422, "blocked")
        assert problem["detail"] == "This picture may not be used here. Choose another one."
    assert [name for name in api.stored_files() if name.endswith((".png", ".jpg")) or "selfies" in name] == []
    assert api.client().get("/templates").json()["items"] == []
    assert api.context.ledger.queue.count_waiting() == {}


def test_one_photo_that_may_not_be_used_does_not_stop_the_others(
    tmp_path: Path, guarded: Callable[..., ApiHarness]
) -> None:
    guard_network.write_for_bright(tmp_path / "home")
    api = guarded()
    person = person_of(api)
    answer = send(api, person, ("a.png", plain(60)), ("white.png", plain(255)), ("c.png", plain(90)))
    assert answer.status_code == 201, answer.text
    assert [each["name"] for each in answer.json()["added"]] == ["a.png", "c.png"]
    assert [(each["where"], each["code"]) for each in answer.json()["refused"]] == [("white.png", "blocked")]
    assert sum("/selfies/" in name for name in api.stored_files()) == 2
    assert all(door.status_code in {200, 201} for door in doors(api, plain(100)).values())


def test_a_style_is_not_shown_with_somebody_whose_preview_may_not_be(
    tmp_path: Path, guarded: Callable[..., ApiHarness]
) -> None:
    api = guarded()
    person = api.prepared_person()
    [row] = api.context.ledger.people.training_sets("ann", person)
    cut_outs.write(cut_out(), cut_outs.place(api.context.files.training_set("ann", person, row.id)))
    ann, shown = api.client(), {"person": person, "side": 480}
    assert ann.get("/styles/studio-blue/preview", params=shown).status_code == 200
    guard_network.write(tmp_path / "home", 0.9)
    refused = ann.get("/styles/studio-grey/preview", params=shown)
    assert (refused.status_code, refused.json()["code"]) == (422, "blocked")
    assert ann.get("/styles/studio-grey/preview").status_code == 200, "the style's own picture is no upload"


@pytest.mark.parametrize("profile", ["research", "commercial"])
@pytest.mark.parametrize("wrong", ABSENT)
def test_without_a_guard_doors_are_open_or_closed_as_the_profile_says(
    tmp_path: Path, guarded: Callable[..., ApiHarness], wrong: str, profile: str, caplog: pytest.LogCaptureFixture
) -> None:
    if wrong == "failing":
        guard_network.write(tmp_path / "home", math.nan)
    api = guarded(PROFILE=profile, **ABSENT[wrong])
    answers = doors(api, picture(1))
    if profile == "research":
        found = {door: answer.status_code for door, answer in answers.items()}
        assert found == {"photo": 201, "template": 201, "style": 200}
    else:
        refused = {door: (answer.status_code, answer.json()["code"]) for door, answer in answers.items()}
        assert refused == dict.fromkeys(answers, (503, "guard_missing"))
        assert 'guards.missing = "open"' in answers["photo"].json()["detail"]
        assert not any("selfies" in name for name in api.stored_files())
    told = "pictures pass unjudged" if profile == "research" else "no picture is taken or delivered"
    assert (told in caplog.text) is (wrong != "failing"), "said when it starts"
