"""Requests for edits: ownership, parameters of the job, refusals."""

import time
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from tasks.ledger.privacy.retention import templates_in
from tasks.ledger.tables import jobs, portraits
from tests.tasks.api.harness import ApiHarness, OwnedIds

TEXT = {"seed": 7, "count": 2, "style": {"id": "studio-warm", "version": 1, "kind": "text"}}
HEART = [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]


@pytest.fixture
def things(api: ApiHarness) -> OwnedIds:
    """Of somebody with a portrait drawn of words."""
    made = api.one_of_each()
    known(api, made.portrait, TEXT)
    return made


@pytest.fixture
def ann(api: ApiHarness) -> TestClient:
    return api.client()


def known(api: ApiHarness, portrait: str, recipe: dict[str, Any]) -> None:
    with api.context.ledger.database.write() as connection:
        connection.execute(sa.update(portraits).where(portraits.c.id == portrait).values(recipe=recipe))


@pytest.mark.parametrize(
    "order",
    [
        {"kind": "variations", "count": 3},
        {"kind": "change", "words": "with a red scarf", "strength": 0.4},
        {"kind": "repaint", "area": [HEART, HEART]},
        {"kind": "extend", "shape": [16, 9], "format": "png", "seed": 5},
    ],
    ids=lambda order: order["kind"],
)
def test_an_edit_is_a_job_that_draws_with_the_same_person_style_and_technique(
    api: ApiHarness, things: OwnedIds, ann: TestClient, order: dict[str, Any]
) -> None:
    answer = ann.post(f"/portraits/{things.portrait}/edits", json=order)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["kind"] == "generate"
    params = job["wants"]
    assert params["edit"]["portrait"] == things.portrait
    assert params["edit"]["kind"] == order["kind"]
    assert (params["people"], params["style"]) == ({"1": things.person}, "studio-warm")
    assert (params["count"], params["format"]) == (order.get("count", 1), order.get("format", "jpg"))
    assert params["seed"] == order.get("seed", 9)
    assert "size" not in params
    stored = api.context.ledger.jobs.get("ann", job["id"])
    before = api.context.ledger.jobs.get("ann", things.drawn)
    assert (stored.needs, stored.queue, stored.units) == (before.needs, before.queue, order.get("count", 1))


def test_the_same_edit_twice_with_one_idempotency_key_is_one_job(things: OwnedIds, ann: TestClient) -> None:
    jobs = len(ann.get("/jobs").json()["items"])
    answers = [
        ann.post(
            f"/portraits/{things.portrait}/edits", json={"kind": "variations"}, headers={"Idempotency-Key": "once"}
        )
        for _ in range(2)
    ]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len(ann.get("/jobs").json()["items"]) == jobs + 1


def test_an_instruction_needs_a_base_that_can_and_its_pictures(
    api: ApiHarness, things: OwnedIds, ann: TestClient
) -> None:
    order: dict[str, Any] = {"kind": "instruct", "words": "Give them this coat."}
    path = f"/portraits/{things.portrait}/edits"
    drawn_on(api, things.drawn, "sdxl")
    refused = [
        ann.post(path, json=each).json()
        for each in (order, {"kind": "repaint", "area": [HEART], "with": [things.template]})
    ]
    assert [each["code"] for each in refused] == ["bad_edit", "bad_edit"]
    assert "by words alone" in refused[0]["detail"]
    drawn_on(api, things.drawn, "flux2_klein")
    answer = ann.post(path, json={**order, "with": [things.template]})
    assert answer.status_code == 202, answer.text
    assert answer.json()["wants"]["edit"]["with"] == [things.template]
    assert "base:flux2_klein:instruct" in api.context.ledger.jobs.get("ann", answer.json()["id"]).needs
    assert templates_in(api.context.ledger.jobs.get("ann", answer.json()["id"]).params) == {things.template}
    assert ann.post(path, json={**order, "with": [things.template] * 4}).json()["code"] == "bad_edit"
    assert ann.post(path, json={**order, "with": ["template_none"]}).status_code == 404


def drawn_on(api: ApiHarness, job: str, base: str, owner: str = "ann") -> None:
    with api.context.ledger.database.write() as connection:
        params = {**api.context.ledger.jobs.get(owner, job).params, "technique": {"base": base}}
        connection.execute(sa.update(jobs).where(jobs.c.id == job).values(wants=params))


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"kind": "instruct"},
        {"kind": "instruct", "words": "a coat", "strength": 0.5},
        {"kind": "change", "words": "a coat", "with": ["template_1"]},
        {"kind": "erase"},
        {"kind": "change"},
        {"kind": "change", "words": "x" * 201},
        {"kind": "change", "words": "two\nlines"},
        {"kind": "repaint"},
        {"kind": "repaint", "area": [HEART[:2]]},
        {"kind": "repaint", "area": [[[0, 0], [2, 0], [1, 1]]]},
        {"kind": "repaint", "area": [HEART] * 21},
        {"kind": "extend"},
        {"kind": "extend", "shape": [21, 9]},
        {"kind": "extend", "shape": [0, 9]},
        {"kind": "extend", "shape": [16, 9, 4]},
        {"kind": "variations", "shape": [16, 9]},
        {"kind": "variations", "area": [HEART]},
        {"kind": "variations", "strength": 0},
        {"kind": "variations", "strength": 1.1},
        {"kind": "variations", "count": 17},
        {"kind": "variations", "seed": -1},
        {"kind": "variations", "format": "gif"},
        {"kind": "variations", "people": {}},
    ],
    ids=str,
)
def test_what_does_not_hold_is_refused(order: dict[str, Any]) -> None:
    from pydantic import ValidationError

    from tasks.schemas import EditRequest

    with pytest.raises(ValidationError):
        EditRequest.model_validate(order)


def test_portraits_that_cannot_be_edited_are_refused_before_they_wait(
    api: ApiHarness, things: OwnedIds, ann: TestClient
) -> None:
    path = f"/portraits/{things.portrait}/edits"
    same = ann.post(path, json={"kind": "extend", "shape": [1, 1]})
    assert (same.status_code, same.json()["code"]) == (422, "bad_edit")
    known(api, things.portrait, {**TEXT, "style": {"kind": "studio"}})
    studio = ann.post(path, json={"kind": "variations"})
    assert (studio.status_code, studio.json()["code"]) == (422, "bad_edit")
    known(api, things.portrait, {"seed": 1})
    assert ann.post(path, json={"kind": "variations"}).json()["code"] == "bad_edit"
    assert ann.post(path, json={"kind": "extend"}).status_code == 422
    assert ann.post("/portraits/portrait_none/edits", json={"kind": "variations"}).status_code == 404
    assert api.client("eve").post(path, json={"kind": "variations"}).status_code == 404


def test_a_person_without_consent_is_not_drawn_again(api: ApiHarness, things: OwnedIds, ann: TestClient) -> None:
    api.context.ledger.people.withdraw("ann", things.person, time.time())
    answer = ann.post(f"/portraits/{things.portrait}/edits", json={"kind": "variations"})
    assert answer.status_code in (403, 409), answer.text
