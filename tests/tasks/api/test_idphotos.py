"""ID photos through the API: presets, what a generation may ask, rules of a portrait, sheets."""

import io
import itertools
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from tests.tasks.api.harness import ApiHarness, style_part
from tests.tasks.api.test_edits import known

RECIPE: dict[str, Any] = {
    "seed": 1,
    "style": {"id": "idphoto-passport", "version": 1, "kind": "idphoto"},
    "drawn": {
        "preset": "icao",
        "background": "light-grey",
        "file": {"dpi": 300, "kilobytes": [None, None]},
        "millimetres": [35.0, 45.0],
        "rules": [
            {"rule": "head", "measured": 33.1, "allowed": [31.5, 36.0], "unit": "mm", "ok": True},
            {"rule": "smile", "measured": 0.2, "allowed": [None, 0.1], "unit": "rise/width", "ok": False, "tip": "…"},
        ],
    },
}


def test_presets_are_listed_with_sources_colours_and_papers(api: ApiHarness) -> None:
    found = api.client().get("/idphotos/presets").json()
    presets = {each["id"]: each for each in found["presets"]}
    assert presets["fi-passport"]["millimetres"] == [36, 47]
    assert presets["fi-passport"]["dpi"] == 353
    assert presets["us-passport"]["checked"].startswith("20")
    assert presets["hk-passport"]["checked"] is None
    assert found["backgrounds"]["white"] == "#ffffff"
    assert found["papers"]["10x15"] == [100, 150]


def test_a_generation_may_say_what_the_rule_does_not(api: ApiHarness) -> None:
    person, client = api.prepared_person(), api.client()
    order: dict[str, Any] = {"people": {"1": person}, "style": "idphoto-passport"}
    asked = {
        "size": {"width": 35, "height": 45, "unit": "mm"},
        "dpi": 600,
        "kilobytes": [20, 50],
        "background": "blue",
    }
    made = client.post("/generations", json=order | {"idphoto": asked})
    assert made.status_code == 202, made.text
    assert made.json()["wants"]["idphoto"] == {
        "size": [35, 45], "unit": "mm", "dpi": 600, "kilobytes": [20, 50], "background": "blue",
    }  # fmt: skip


def test_an_id_photo_is_made_of_a_photo_of_the_person_and_of_nobody_else(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    other = api.prepared_person("ann", "Bea")
    order: dict[str, Any] = {"people": {"1": things.person}, "style": "idphoto-passport"}
    made = client.post("/generations", json=order | {"idphoto": {"photo": things.selfie}}).json()
    assert (made["wants"]["photo"], made["wants"]["idphoto"]) == (things.selfie, {})
    stranger = api.context.ledger.people.selfies("ann", other)[0].id
    refused = client.post("/generations", json=order | {"idphoto": {"photo": stranger}})
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert api.client("eve").post("/generations", json=order | {"idphoto": {"photo": things.selfie}}).status_code == 404


@pytest.mark.parametrize(
    ("style", "asked", "code"),
    [
        ("studio-warm", {}, "bad_id_photo"),
        ("idphoto-passport", {"background": "purple"}, "bad_background"),
        ("idphoto-passport", {"kilobytes": [50, 20]}, "bad_file_size"),
        ("idphoto-passport", {"size": {"width": 1, "height": 1}}, "bad_size"),
        ("idphoto-passport", {"dpi": 5}, "bad_request"),
        ("idphoto-passport", {"colour": "blue"}, "bad_request"),
    ],
)
def test_what_no_worker_could_make_is_refused_at_once(
    api: ApiHarness, style: str, asked: dict[str, Any], code: str
) -> None:
    order = {"people": {"1": api.prepared_person()}, "style": style, "idphoto": asked}
    answer = api.client().post("/generations", json=order)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_portrait_has_its_rules(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    assert client.get(f"/portraits/{things.portrait}").json()["rules"] == []
    known(api, things.portrait, RECIPE)
    head, smile = client.get(f"/portraits/{things.portrait}").json()["rules"]
    assert (head["measured"], head["allowed"], head["ok"], head["tip"]) == (33.1, [31.5, 36.0], True, "")
    assert (smile["allowed"], smile["ok"]) == ([None, 0.1], False)
    assert client.get("/portraits").json()["items"][0]["rules"] == [head, smile]


def test_a_sheet_is_printed_of_an_id_photo(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    path = f"/portraits/{things.portrait}/sheet"
    known(api, things.portrait, RECIPE)
    document = client.get(path)
    assert document.headers["content-type"] == "application/pdf"
    assert b"compositeSynthetic" in document.content
    picture = PIL.Image.open(io.BytesIO(client.get(path, params={"format": "jpg", "paper": "a4", "gap": 5}).content))
    assert sorted(picture.size) == [2480, 3508]
    assert "compositeSynthetic" in picture.info["xmp"].decode()
    assert client.get(path, params={"paper": "a3"}).json()["code"] == "unknown_paper"
    assert client.get(path, params={"gap": 99}).status_code == 422
    assert client.get(path, params={"width": 50}).json()["code"] == "id_photo_fixed"


def test_any_portrait_is_printed_as_wide_as_is_asked(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    path = f"/portraits/{things.portrait}/sheet"
    sent = client.get(path, params={"format": "jpg", "width": 40, "gap": 5})
    assert sent.headers["content-disposition"] == f'attachment; filename="Ann-{style_part()}-1-10x15.jpg"'
    sheet = np.asarray(PIL.Image.open(io.BytesIO(sent.content)).convert("L"))
    assert sorted(sheet.shape) == [1181, 1772], "10 × 15 cm at 300 dpi"
    # Prints are dark on white paper, beside marks that are thinner than 3 pixels.
    printed = (sheet < 200).mean(axis=0) > 0.3
    assert [round(length / 300 * 25.4) for length in runs(printed)] == [40] * 2
    whole = np.asarray(PIL.Image.open(io.BytesIO(client.get(path, params={"format": "jpg"}).content)).convert("L"))
    (width,) = runs((whole < 200).mean(axis=0) > 0.3)
    assert width / 300 * 25.4 == pytest.approx(96, abs=0.5), "the largest that fits: all but the margins"
    assert client.get(path).content.startswith(b"%PDF")
    assert client.get(path, params={"width": 300}).json()["code"] == "paper_too_small"


def runs(line: NDArray[np.bool_]) -> list[int]:
    """Lengths of the stretches in which something is true."""
    return [len(list(some)) for true, some in itertools.groupby(line) if true]
