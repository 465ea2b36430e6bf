"""Styles with a person's own photo, and with sample people."""

import io
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from pipelines.folders import cut_outs
from tasks.ledger.rows import DraftFindings
from tasks.styles.service import StyleService
from templates.hashes import check_hash
from tests.cut_out_person import SKIN, cut_out
from tests.tasks.api.harness import STUDIO, ApiHarness, picture


@pytest.fixture
def person(api: ApiHarness) -> str:
    return api.prepared_person()


def folder_of(api: ApiHarness, person: str) -> Path:
    [row] = api.context.ledger.people.training_sets("ann", person)
    return api.context.files.training_set("ann", person, row.id)


def preview(api: ApiHarness, style: str, person: str, side: int = 480) -> "np.ndarray":
    answer = api.client().get(f"/styles/{style}/preview", params={"person": person, "side": side})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return np.asarray(PIL.Image.open(io.BytesIO(answer.content)))


def test_a_studio_is_shown_with_the_persons_photo(api: ApiHarness, person: str) -> None:
    plain = preview(api, "studio-blue", person)
    cut_outs.write(cut_out(), cut_outs.place(folder_of(api, person)))
    own = preview(api, "studio-blue", person, side=2048)
    assert own.shape == (480, 384, 3)
    assert np.abs(own[190, 192].astype(int) - SKIN).max() < 40
    assert preview(api, "studio-blue", person, side=128).shape == (128, 102, 3)
    assert np.abs(own[:60, :60].astype(int).mean() - plain[:60, :60].mean()) < 30, "the same backdrop"
    assert np.abs(preview(api, "studio-grey-half", person)[190, 192].astype(int) - SKIN).max() < 40
    usual = api.client().get("/styles/astronaut/preview", params={"side": 480})
    assert np.array_equal(preview(api, "astronaut", person), np.asarray(PIL.Image.open(io.BytesIO(usual.content))))


@pytest.mark.parametrize("side", [200, 2600])
def test_a_picture_of_the_operators_is_the_backdrop(api: ApiHarness, person: str, side: int) -> None:
    cut_outs.write(cut_out(), cut_outs.place(folder_of(api, person)))
    picture = np.zeros((side, side, 3), np.uint8)
    picture[:, : side // 2], picture[:, side // 2 :] = (200, 40, 40), (40, 40, 200)
    content = io.BytesIO()
    PIL.Image.fromarray(picture).save(content, "PNG")
    olga = api.client("olga", "operator")
    olga.put("/operator/styles/mine/draft", json={"content": {**STUDIO, "credit": "me"}})
    answer = olga.post("/operator/styles/mine/picture", files={"file": ("hall.png", content.getvalue())})
    assert answer.json()["draft"]["picture"], answer.text
    context = api.context
    service = StyleService(context.ledger, context.files)
    draft = service.draft("mine")
    checked = {"of": check_hash(service.entry(draft)), "findings": []}
    service.ledger.drafts.record_findings(DraftFindings("mine", draft.edition, checked, None))
    assert olga.post("/operator/styles/mine/publish", json={}).status_code == 200
    assert api.client().get("/styles/mine").json()["group"] == "place"
    own, plain = preview(api, "mine", person), preview(api, "mine", api.prepared_person("ann", "Ben"))
    assert np.abs(own[190, 192].astype(int) - SKIN).max() < 40
    assert own[:60, 5:60].mean(axis=(0, 1)) == pytest.approx((200, 40, 40), abs=12)
    assert own[:60, -60:-5].mean(axis=(0, 1)) == pytest.approx((40, 40, 200), abs=12)
    assert plain.shape[0] == plain.shape[1], "who has no cut-out sees the picture"
    broken = context.files.style("mine", 1) / "picture.png"
    broken.write_bytes(b"no picture")
    assert api.client().get(f"/styles/mine/preview?person={person}&side=128").json()["code"] == "unreadable"
    assert np.abs(preview(api, "studio-blue", person)[190, 192].astype(int) - SKIN).max() < 40, "others still are"


def test_it_is_gone_with_the_photos(api: ApiHarness, person: str) -> None:
    folder = folder_of(api, person)
    cut_outs.write(cut_out(), cut_outs.place(folder))
    own = preview(api, "studio-blue", person)
    shutil.rmtree(folder)
    assert not np.array_equal(preview(api, "studio-blue", person), own)


def test_only_ones_own_people_with_consent_are_shown(api: ApiHarness, person: str) -> None:
    address = f"/styles/studio-blue/preview?person={person}"
    assert api.client("bob").get(address).status_code == 404
    api.client().delete(f"/people/{person}/consents")
    assert api.client().get(address).json()["code"] == "consent_withdrawn"


def test_samples_are_counted_and_sent(api: ApiHarness) -> None:
    ann = api.client()
    assert ann.get("/styles/studio-blue").json()["samples"] == 0
    assert ann.get("/styles/studio-blue/samples/1").status_code == 404
    folder = api.context.files.style_samples("studio-blue", ann.get("/styles/studio-blue").json()["version"])
    folder.mkdir(parents=True)
    PIL.Image.open(io.BytesIO(picture(3))).convert("RGB").save(folder / "1.jpg")
    assert ann.get("/styles/studio-blue").json()["samples"] == 1
    sent = ann.get("/styles/studio-blue/samples/1", params={"side": 64})
    assert (sent.status_code, sent.headers["content-type"]) == (200, "image/jpeg")
    assert "max-age" in sent.headers["cache-control"]
    assert ann.get("/styles/studio-blue/samples/2").status_code == 404
