"""Orders of several styles: all of it or nothing, once for each key, quotas over the whole; and what was seen of jobs."""

import time
from dataclasses import replace
from typing import Any

import httpx
import pytest

from portrait.errors import UserError
from tasks import schemas
from tasks.client.client import Client
from tasks.jobs import Fault
from tasks.ledger.jobs import JobFilter
from tasks.ledger.usage import Allowance
from tests.tasks.api.harness import ApiHarness
from tests.tasks.api.test_jobs import key


def wanted(person: str, **more: Any) -> dict[str, Any]:
    return {"people": {"1": person}, "style": "studio-warm", **more}


def drawings(api: ApiHarness, owner: str = "ann") -> list[str]:
    return [job.id for job in api.context.ledger.jobs.list(owner, JobFilter(kind="generate")).items]


def used(api: ApiHarness) -> int:
    return api.context.ledger.usage.today("ann", time.time())["portraits"].amount


def test_an_order_is_one_job_a_style_in_their_order(api: ApiHarness) -> None:
    client, person = api.client(), api.prepared_person()
    asked = [
        wanted(person, count=4),
        wanted(person, style="studio-black", count=2),
        wanted(person, style="studio-grey"),
    ]
    answer = client.post("/orders", json={"generations": asked})
    assert answer.status_code == 202, answer.text
    placed = schemas.Order.model_validate(answer.json())
    assert [job.wants["style"] for job in placed.jobs] == ["studio-warm", "studio-black", "studio-grey"]
    assert [job.place for job in placed.jobs] == [1, 2, 3], "the first is drawn first"
    assert {job.order for job in placed.jobs} == {placed.id}
    assert answer.headers["location"] == f"/v1/jobs?order={placed.id}"
    listed = client.get(answer.headers["location"].removeprefix("/v1")).json()["items"]
    assert {job["id"] for job in listed} == {job.id for job in placed.jobs}
    assert used(api) == 7
    alone = client.post("/generations", json=wanted(person)).json()
    assert alone["order"] == ""
    assert alone["id"] not in {job["id"] for job in client.get(f"/jobs?order={placed.id}").json()["items"]}


def test_a_refusal_of_one_leaves_nothing_of_the_order(api: ApiHarness) -> None:
    client, person = api.client(), api.prepared_person()
    fine = [wanted(person, count=8), wanted(person, style="studio-black")]
    refused: list[tuple[dict[str, Any], str, int]] = [
        ({"style": "no-such-style"}, "unknown_style", 404),
        ({"style": "idphoto-passport", "size": {"width": 900, "height": 900}}, "bad_size", 422),
        ({"people": {"1": "person_nobody"}}, "not_found", 404),
        ({"people": {"2": person}}, "template_face_missing", 422),
        ({"traits": {"hat": "red"}}, "bad_trait", 422),
    ]
    for bad, code, status in refused:
        answer = client.post("/orders", json={"generations": [*fine, wanted(person, **bad)]}, headers=key(code))
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert [(each["where"], each["code"]) for each in answer.json()["errors"]] == [("generations.2", code)]
        assert (drawings(api), used(api)) == ([], 0)
    good = client.post("/orders", json={"generations": fine}, headers=key("good"))
    assert good.status_code == 202
    assert len(drawings(api)) == 2


def test_every_refusal_is_named_at_once(api: ApiHarness) -> None:
    person = api.prepared_person()
    asked = [wanted(person, style="no-such-style"), wanted(person), wanted("person_nobody")]
    answer = api.client().post("/orders", json={"generations": asked}).json()
    assert [(each["where"], each["code"]) for each in answer["errors"]] == [
        ("generations.0", "unknown_style"),
        ("generations.2", "not_found"),
    ]


def test_a_withdrawn_person_refuses_the_whole_order(api: ApiHarness) -> None:
    client, ann, eve = api.client(), api.prepared_person(), api.prepared_person(name="Eve")
    assert client.delete(f"/people/{eve}/consents").status_code == 204
    answer = client.post("/orders", json={"generations": [wanted(ann), wanted(eve)]})
    assert (answer.status_code, answer.json()["code"]) == (403, "consent_withdrawn")
    assert drawings(api) == []


def test_consent_that_is_withdrawn_between_check_and_placing_leaves_nothing(api: ApiHarness) -> None:
    ledger, ann, eve = api.context.ledger, api.prepared_person(), api.prepared_person(name="Eve")
    client = api.client()
    first = client.post("/generations", json=wanted(ann)).json()["id"]
    job = ledger.jobs.get("ann", first)
    ledger.people.withdraw("ann", eve, time.time())
    two = [replace(job, id=f"job_{at}", order_id="order_1") for at in range(2)]
    with pytest.raises(UserError, match="withdrawn"):
        ledger.jobs.add_together([(two[0], [ann]), (two[1], [eve])])
    assert drawings(api) == [first]


def test_quotas_count_over_the_whole_order(api: ApiHarness) -> None:
    client, person, ledger = api.client(), api.prepared_person(), api.context.ledger
    placed = [ledger.jobs.get("ann", client.post("/generations", json=wanted(person, count=8)).json()["id"])]
    two = [replace(placed[0], id=f"job_{at}", order_id="order_1") for at in range(2)]
    for allowance, code in (
        (Allowance(jobs=2, portraits_a_day=99), "quota_jobs"),
        (Allowance(jobs=9, portraits_a_day=23), "quota_portraits"),
        (Allowance(jobs=9, portraits_a_day=99, portrait_pixels_a_day=47_000_000), "quota_pixels"),
    ):
        with pytest.raises(UserError) as refused:
            ledger.jobs.add_together([(job, [person]) for job in two], allowance)
        assert refused.value.code == code
        assert len(drawings(api)) == 1
    enough = Allowance(jobs=3, portraits_a_day=24, portrait_pixels_a_day=48_000_000, order_pixels=16_000_000)
    assert len(ledger.jobs.add_together([(job, [person]) for job in two], enough)) == 2


def test_too_many_at_once_says_how_many_are_free(api: ApiHarness) -> None:
    person = api.prepared_person()
    answer = api.client().post("/orders", json={"generations": [wanted(person, seed=at) for at in range(21)]})
    assert (answer.status_code, answer.json()["code"]) == (429, "quota_jobs")
    assert "20 are free" in answer.json()["detail"]


def test_the_same_key_places_it_once_also_when_the_first_answer_was_lost(api: ApiHarness) -> None:
    client, person = api.client(), api.prepared_person()
    body = {"generations": [wanted(person), wanted(person, style="studio-black")]}
    first = client.post("/orders", json=body, headers=key("k"))
    again = client.post("/orders", json=body, headers=key("k"))
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    # The process died between placing the order and writing down its answer, and the key is free again.
    api.context.ledger.idempotency.prune(time.time() + 1)
    late = client.post("/orders", json=body, headers=key("k"))
    assert late.status_code == 202
    assert "idempotent-replayed" not in late.headers
    assert [job["id"] for job in late.json()["jobs"]] == [job["id"] for job in first.json()["jobs"]]
    assert (len(drawings(api)), used(api)) == (2, 2)
    other = client.post("/orders", json=body, headers=key("k3"))
    assert other.json()["id"] != first.json()["id"]
    assert len(drawings(api)) == 4


def test_the_client_orders_and_marks_what_failed(api: ApiHarness) -> None:
    person = api.prepared_person()
    with Client("http://testserver", api.key(), transport=api_transport(api)) as client:
        request = schemas.GenerationRequest.model_validate(wanted(person))
        order = client.place_order([request, request.model_copy(update={"style": "studio-black"})], key="k")
        assert (
            client.place_order([request, request.model_copy(update={"style": "studio-black"})], key="k").id == order.id
        )
        assert {job.id for job in client.jobs(order=order.id)} == {job.id for job in order.jobs}
        assert client.unseen_failures() == []
        failed = fail_next(api)
        assert [job.id for job in client.unseen_failures()] == [failed]
        assert not client.job(failed).seen
        assert client.mark_seen(failed, order.jobs[1].id, "job_of_nobody") == 1, "the other has not ended"
        assert (client.unseen_failures(), client.job(failed).seen) == ([], True)
        client.retry(failed)
        assert not client.job(failed).seen


def test_what_has_not_ended_or_is_of_others_cannot_be_marked(api: ApiHarness) -> None:
    client, person = api.client(), api.prepared_person()
    job = client.post("/generations", json=wanted(person)).json()["id"]
    early = client.post(f"/jobs/{job}/seen")
    assert (early.status_code, early.json()["code"]) == (409, "bad_transition")
    fail_next(api)
    bob = api.client("bob")
    assert bob.post(f"/jobs/{job}/seen").status_code == 404
    assert bob.post("/jobs/seen", json={"jobs": [job]}).json() == {"jobs": 0}
    assert [each["id"] for each in client.get("/jobs?seen=false&state=failed").json()["items"]] == [job]
    assert client.post(f"/jobs/{job}/seen").json()["seen"] is True
    assert client.get("/jobs?seen=false&state=failed").json()["items"] == []
    assert [each["id"] for each in client.get("/jobs?seen=true&state=failed").json()["items"]] == [job]


def fail_next(api: ApiHarness) -> str:
    """Have a worker refuse the next drawing; returns its id."""
    queue, now = api.context.ledger.queue, time.time()
    job = queue.claim("w", "cpu", {"draw:studio"}, now, 60)
    assert job is not None
    queue.fail(job, now, UserError("no_shoulders", "These photos end too close to the face."))
    assert api.context.ledger.jobs.get("ann", job.id).fault == Fault(
        "UserError", "no_shoulders", "These photos end too close to the face."
    )
    return job.id


def api_transport(api: ApiHarness) -> httpx.BaseTransport:
    """The way of a `Client` to an API in this process."""
    caller = api.anonymous()

    def send(request: httpx.Request) -> httpx.Response:
        headers = dict(request.headers)
        answer = caller.request(request.method, str(request.url), headers=headers, content=request.read())
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)

    return httpx.MockTransport(send)
