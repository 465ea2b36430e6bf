"""What a portrait was made from: the photo of each face, a picture that people were put into, the portrait that was edited."""

from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from tasks.ledger.tables import jobs, portraits, selfies
from tests.tasks.api.harness import ApiHarness, OwnedIds, picture

LEVEL, TILTED = [0.4, 0.4, 0.6, 0.4], [0.3, 0.5, 0.5, 0.6]
STUDIO: dict[str, Any] = {"seed": 1, "count": 1, "style": {"id": "studio-warm", "version": 1, "kind": "studio"}}
EYES = {"portrait": LEVEL, "photo": TILTED, "photo_aspect": 1.0}


@pytest.fixture
def things(api: ApiHarness) -> OwnedIds:
    return api.one_of_each()


@pytest.fixture
def ann(api: ApiHarness) -> TestClient:
    return api.client()


def change(api: ApiHarness, portrait: str, **values: Any) -> None:
    with api.context.ledger.database.write() as connection:
        connection.execute(sa.update(portraits).where(portraits.c.id == portrait).values(values))


def measured(*faces: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A recipe with where the eyes of its faces are."""
    eyes = {str(number): face for number, face in enumerate(faces, 1)}
    return {**STUDIO, "drawn": {"eyes": eyes}, **more}


def second_photo(ann: TestClient, things: OwnedIds) -> str:
    answer = ann.post(f"/people/{things.person}/selfies", files=[("files", ("two.png", picture(2)))])
    return str(answer.json()["added"][0]["id"])


def test_a_portrait_is_compared_with_the_very_photo_it_was_drawn_from(
    api: ApiHarness, ann: TestClient, things: OwnedIds
) -> None:
    other = second_photo(ann, things)
    change(api, things.portrait, recipe=measured(EYES, photos={"1": other}))
    before = ann.get(f"/portraits/{things.portrait}/before").json()
    assert (before["kind"], before["id"]) == ("selfie", other), "and not with the best one"
    assert (before["eyes"], before["portrait_eyes"]) == (TILTED, LEVEL)
    file = ann.get(f"/portraits/{things.portrait}/before/file")
    assert file.content == picture(2)


def test_a_portrait_of_before_it_was_measured_has_the_best_photo_of_its_set_and_no_eyes(
    ann: TestClient, things: OwnedIds
) -> None:
    before = ann.get(f"/portraits/{things.portrait}/before").json()
    assert (before["kind"], before["id"]) == ("selfie", things.selfie)
    assert (before["eyes"], before["portrait_eyes"]) == (None, None)
    assert [face["person"] for face in before["faces"]] == [things.person]


def test_a_photo_that_was_turned_for_drawing_is_laid_over_where_its_eyes_are_known(
    api: ApiHarness, ann: TestClient, things: OwnedIds
) -> None:
    turned = {**EYES, "photo_aspect": 0.75}
    change(api, things.portrait, recipe=measured(turned, photos={"1": things.selfie}))
    before = ann.get(f"/portraits/{things.portrait}/before").json()
    assert (before["id"], before["eyes"], before["portrait_eyes"]) == (things.selfie, None, LEVEL)
    with api.context.ledger.database.write() as connection:
        mine = sa.update(selfies).where(selfies.c.id == things.selfie)
        connection.execute(mine.values(uses={"serves": None, "eyes": [0.5, 0.2, 0.5, 0.3]}))
    before = ann.get(f"/portraits/{things.portrait}/before").json()
    assert (before["eyes"], before["portrait_eyes"]) == ([0.5, 0.2, 0.5, 0.3], LEVEL)


def test_in_a_picture_of_ones_own_each_face_has_its_photo(api: ApiHarness, ann: TestClient, things: OwnedIds) -> None:
    face = {**EYES, "template": [0.2, 0.2, 0.3, 0.2]}
    style = {"id": things.template, "version": 1, "kind": "template"}
    recipe = measured(face, {"portrait": TILTED}, style=style, photos={"1": things.selfie})
    change(api, things.portrait, style=things.template, recipe=recipe)
    with api.context.ledger.database.write() as connection:
        wants = {"people": {"1": things.person, "2": things.person}, "identities": {}}
        connection.execute(sa.update(jobs).where(jobs.c.id == things.drawn).values(wants=wants))
    before = ann.get(f"/portraits/{things.portrait}/before").json()
    assert (before["kind"], before["id"], before["eyes"]) == ("template", things.template, [0.2, 0.2, 0.3, 0.2])
    assert [(each["face"], each["selfie"]) for each in before["faces"]] == [(1, things.selfie), (2, "")]
    assert before["faces"][1]["portrait_eyes"] == TILTED
    assert ann.get(f"/portraits/{things.portrait}/before/file").content == picture(7)
    ann.delete(f"/templates/{things.template}")
    left = ann.get(f"/portraits/{things.portrait}/before").json()
    assert (left["kind"], left["id"]) == ("selfie", things.selfie)


def test_an_edit_is_compared_with_the_portrait_it_began_from(
    api: ApiHarness, ann: TestClient, things: OwnedIds
) -> None:
    text = {**measured(EYES), "style": {"id": "studio-warm", "version": 1, "kind": "text"}}
    change(api, things.portrait, recipe=text)
    ann.post(f"/jobs/{things.waiting}/cancel")
    ann.post(f"/portraits/{things.portrait}/edits", json={"kind": "variations"})
    edited = api.complete_next_job("draw:studio").result["portraits"][0]
    before = ann.get(f"/portraits/{edited}/before").json()
    assert (before["kind"], before["id"], before["eyes"]) == ("portrait", things.portrait, LEVEL)
    assert ann.get(f"/portraits/{edited}/before/file").status_code == 200
    ann.delete(f"/portraits/{things.portrait}")
    assert ann.get(f"/portraits/{edited}/before").json()["kind"] == "selfie"


def test_where_nothing_is_left_it_is_told(api: ApiHarness, ann: TestClient, things: OwnedIds) -> None:
    change(api, things.portrait, recipe=measured(EYES, photos={"1": things.selfie}))
    second_photo(ann, things)
    ann.delete(f"/selfies/{things.selfie}")
    answer = ann.get(f"/portraits/{things.portrait}/before")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), "another photo is no substitute"


def test_what_somebody_elses_portrait_was_made_from_is_not_told(api: ApiHarness, things: OwnedIds) -> None:
    stranger = api.client("bob")
    for path in ("before", "before/file"):
        assert stranger.get(f"/portraits/{things.portrait}/{path}").status_code == 404
