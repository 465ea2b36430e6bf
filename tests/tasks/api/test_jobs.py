"""Creating jobs with idempotency keys, cancelling and retrying them."""

import time
from typing import Any

import pytest
import sqlalchemy as sa

from portrait.errors import OperatorError, UserError
from tasks.jobs import Fault, Limits
from tasks.ledger.idempotency import IN_FLIGHT_SECONDS, IdempotencyRepository
from tasks.ledger.jobs import JobRepository
from tasks.ledger.tables import idempotency_keys
from tests.tasks.api.harness import ApiHarness, ApiServer, run_concurrently


def order(person: str, **more: Any) -> dict[str, Any]:
    return {"people": {"1": person}, "style": "studio-warm", **more}


def key(name: str) -> dict[str, str]:
    return {"Idempotency-Key": name}


def test_an_accepted_job_has_location_and_retry_after(api: ApiHarness) -> None:
    client = api.client()
    answer = client.post("/generations", json=order(api.prepared_person(), count=4, seed=7))
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert int(answer.headers["retry-after"]) > 0
    assert (job["state"], job["place"], job["kind"], job["wants"]["count"]) == ("queued", 1, "generate", 4)
    assert job["missing"] == ["No worker for it is running. An operator can start one."]
    looked = client.get(answer.headers["location"].removeprefix("/v1"))
    assert looked.json() == job
    assert looked.headers["retry-after"] == answer.headers["retry-after"]
    api.complete_next_job()
    ended = client.get(f"/jobs/{job['id']}")
    assert ended.json()["state"] == "succeeded"
    assert "retry-after" not in ended.headers


@pytest.mark.services
def test_many_at_once_with_one_key_are_one_job(each_server: ApiServer) -> None:
    api = each_server.api
    person = api.prepared_person()
    before = len(api.context.ledger.jobs.list("ann").items)
    with each_server.client() as caller:
        caller.get("/me")
        answers = run_concurrently(20, lambda _: caller.post("/generations", json=order(person), headers=key("k1")))
        found = {answer.json()["id"] for answer in answers if answer.status_code == 202}
        assert {answer.status_code for answer in answers} <= {202, 409}
        waiting = [answer for answer in answers if answer.status_code == 409]
        assert {answer.json()["code"] for answer in waiting} <= {"idempotency_in_flight"}
        assert all(answer.headers["retry-after"] == "1" for answer in waiting)
        again = caller.post("/generations", json=order(person), headers=key("k1"))
    jobs = api.context.ledger.jobs.list("ann").items
    assert len(jobs) == before + 1
    assert found == {jobs[0].id} == {again.json()["id"]}


def test_a_replay_is_the_first_answer_whatever_became_of_the_job(api: ApiHarness) -> None:
    client, person = api.client(), api.prepared_person()
    first = client.post("/generations", json=order(person), headers=key("k"))
    api.complete_next_job()
    again = client.post("/generations", json=order(person), headers=key("k"))
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for name in ("location", "retry-after", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


def test_one_key_is_for_one_request_of_one_owner(api: ApiHarness) -> None:
    client, person = api.client(), api.prepared_person()
    first = client.post("/generations", json=order(person), headers=key("k"))
    for path, body in (("/generations", order(person, count=2)), ("/trainings", {"person": person})):
        other = client.post(path, json=body, headers=key("k"))
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    bob = api.client("bob").post("/generations", json=order(api.prepared_person("bob")), headers=key("k"))
    assert bob.status_code == 202
    assert bob.json()["id"] != first.json()["id"]


def test_a_lasting_refusal_is_stored_and_a_passing_one_is_not(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    client, person = api.client(), api.prepared_person()
    refused = client.post("/generations", json=order("nobody"), headers=key("a"))
    again = client.post("/generations", json=order("nobody"), headers=key("a"))
    assert [refused.status_code, again.status_code] == [404, 404]
    assert again.headers["idempotent-replayed"] == "true"
    for each in range(20):
        assert client.post("/generations", json=order(person, seed=each)).status_code == 202
    full = client.post("/generations", json=order(person), headers=key("b"))
    assert (full.status_code, full.json()["code"]) == (429, "quota_jobs")
    api.complete_next_job()
    assert client.post("/generations", json=order(person), headers=key("b")).status_code == 202

    def away(*_: Any) -> None:
        raise OperatorError("database_unreachable", "The database does not answer.")

    api.complete_next_job()
    with monkeypatch.context() as patched:
        patched.setattr(JobRepository, "add_together", away)
        down = client.post("/generations", json=order(person), headers=key("c"))
        assert (down.status_code, down.headers["retry-after"]) == (503, "5")
    assert client.post("/generations", json=order(person), headers=key("c")).status_code == 202


def test_a_fault_frees_the_key(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    client, person = api.client(), api.prepared_person()
    with monkeypatch.context() as patched:
        patched.setattr(JobRepository, "add_together", lambda *_: 1 / 0)  # pyrefly: ignore[division-by-zero] -- a fault
        assert client.post("/generations", json=order(person), headers=key("k")).status_code == 500
    assert client.post("/generations", json=order(person), headers=key("k")).status_code == 202


def test_a_request_that_died_frees_its_key_after_a_while(api: ApiHarness) -> None:
    access, now = api.context.ledger.idempotency, time.time()
    first = access.begin("ann", "k", "f", now)
    with pytest.raises(UserError, match="not answered yet"):
        access.begin("ann", "k", "f", now + 59)
    assert access.begin("ann", "k", "f", now + 61) == first


def test_a_job_that_was_placed_before_its_request_died_is_not_placed_again(
    api: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, person = api.client(), api.prepared_person()
    training = {"person": person}
    for path, body in (("/generations", order(person)), ("/trainings", training)):
        before = len(client.get("/jobs").json()["items"])
        with monkeypatch.context() as patched:
            # As a process that is killed between the job's commit and the response: nothing after the commit happens.
            patched.setattr(IdempotencyRepository, "save_response", lambda *_: 1 / 0)  # pyrefly: ignore[division-by-zero] -- a fault
            patched.setattr(IdempotencyRepository, "release", lambda *_: None)
            assert client.post(path, json=body, headers=key("k" + path)).status_code == 500
        assert client.post(path, json=body, headers=key("k" + path)).json()["code"] == "idempotency_in_flight"
        with api.context.ledger.database.write() as connection:
            connection.execute(sa.update(idempotency_keys).values(created=time.time() - IN_FLIGHT_SECONDS - 1))
        again = client.post(path, json=body, headers=key("k" + path))
        assert again.status_code == 202
        jobs = client.get("/jobs").json()["items"]
        assert len(jobs) == before + 1
        assert jobs[0]["id"] == again.json()["id"]


def test_what_else_is_made_is_made_once_too(api: ApiHarness) -> None:
    client = api.client()
    consent = {"agreed": True, "text_version": "2026-11", "given_by": "Ann"}
    person = client.post("/people", json={"name": "Ann", "consent": consent}, headers=key("p")).json()["id"]
    assert client.post("/people", json={"name": "Ann", "consent": consent}, headers=key("p")).json()["id"] == person
    for _ in range(2):
        assert client.post(f"/people/{person}/consents", json=consent, headers=key("c")).status_code == 201
        assert client.post("/webhooks", json={"url": "https://example.org/"}, headers=key("w")).status_code == 201
    assert len(client.get("/people").json()["items"]) == 1
    assert len(client.get(f"/people/{person}/consents").json()["items"]) == 2, "the first, and one more"
    assert len(client.get("/webhooks").json()["items"]) == 1


def test_a_queued_job_is_cancelled_at_once_and_can_be_cancelled_twice(api: ApiHarness) -> None:
    client, job = api.client(), api.one_of_each().waiting
    for _ in range(2):
        answer = client.post(f"/jobs/{job}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert api.context.ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60) is None


def test_a_running_job_is_cancelled(api: ApiHarness) -> None:
    client, job = api.client(), api.one_of_each().waiting
    held = api.context.ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60)
    assert held is not None
    answer = client.post(f"/jobs/{job}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelling")
    retried = client.post(f"/jobs/{job}/retry")
    assert (retried.status_code, retried.json()["code"]) == (409, "bad_transition")
    api.context.ledger.queue.release(held, time.time())
    assert client.get(f"/jobs/{job}").json()["state"] == "cancelled"


def test_a_finished_job_says_so(api: ApiHarness) -> None:
    things = api.one_of_each()
    for change, done in (("cancel", "cancelled"), ("retry", "tried again")):
        answer = api.client().post(f"/jobs/{things.drawn}/{change}")
        assert (answer.status_code, answer.json()["code"]) == (409, "bad_transition")
        assert answer.json()["detail"] == f"A job that is succeeded cannot be {done}."


def failed(api: ApiHarness) -> str:
    """A job that failed."""
    job = api.context.ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60)
    assert job is not None
    fault = Fault("EngineError", "out_of_memory", "There was not enough memory.")
    api.context.ledger.queue.retry_or_fail(job, time.time(), fault, Limits(failures=1))
    return job.id


def test_a_failed_job_tells_why_and_is_tried_again(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    assert failed(api) == things.waiting
    job = client.get(f"/jobs/{things.waiting}").json()
    assert (job["state"], job["fault"]["code"], job["failures"]) == ("failed", "out_of_memory", 1)
    again = client.post(f"/jobs/{things.waiting}/retry")
    assert (again.status_code, again.json()["state"], again.json()["fault"]) == (202, "queued", None)
    assert again.json()["failures"] == 0
    api.complete_next_job()
    assert client.get(f"/jobs/{things.waiting}").json()["state"] == "succeeded"


def test_a_retry_asks_for_consent_and_quota_as_the_first_time(api: ApiHarness) -> None:
    client, person = api.client(), api.prepared_person()
    first = client.post("/generations", json=order(person)).json()["id"]
    client.post(f"/jobs/{first}/cancel")
    for each in range(20):
        client.post("/generations", json=order(person, seed=each))
    full = client.post(f"/jobs/{first}/retry")
    assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (429, "quota_jobs", "10")
    client.delete(f"/people/{person}/consents")
    withdrawn = client.post(f"/jobs/{first}/retry")
    assert (withdrawn.status_code, withdrawn.json()["code"]) == (403, "consent_withdrawn")


def test_withdrawn_consent_stops_what_waits_and_refuses_what_comes(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    assert client.delete(f"/people/{things.person}/consents").status_code == 204
    assert client.get(f"/jobs/{things.waiting}").json()["state"] == "cancelled"
    for path, body in (("/trainings", {"person": things.person}), ("/generations", order(things.person))):
        refused = client.post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "consent_withdrawn")
    photo = client.post(f"/people/{things.person}/selfies", files=[("files", ("me.png", b"x"))])
    assert photo.status_code == 403
    consent = {"agreed": True, "text_version": "2026-11", "given_by": "Ann"}
    assert client.post(f"/people/{things.person}/consents", json=consent).status_code == 201
    assert client.post("/generations", json=order(things.person)).status_code == 202


def test_refused_jobs_give_the_reason(api: ApiHarness) -> None:
    client = api.client()
    empty = api.context.ledger.people.add("ann", "Ann", "1", "Ann", time.time()).id
    found = {
        "no_photos": client.post("/trainings", json={"person": empty}),
        "not_prepared": client.post("/generations", json=order(empty)),
        "unknown_style": client.post("/generations", json={"people": {"1": api.prepared_person()}, "style": "no-such"}),
        "template_face_missing": client.post(
            "/generations", json={**order(api.prepared_person()), "people": {"2": api.prepared_person()}}
        ),
    }
    assert {code: answer.json()["code"] for code, answer in found.items()} == {code: code for code in found}
    assert [answer.status_code for answer in found.values()] == [422, 409, 404, 422]


def test_lists_are_filtered_by_state_kind_and_person(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    other = api.prepared_person(name="Bea")

    def ids(**params: Any) -> list[str]:
        return [job["id"] for job in client.get("/jobs", params=params).json()["items"]]

    assert ids(state="queued") == [things.waiting]
    assert ids(state=["queued", "succeeded"], kind="generate") == [things.waiting, things.drawn]
    assert len(ids()) == 5
    assert ids(person=things.person, kind="generate") == [things.waiting, things.drawn]
    assert len(ids(person=other)) == 1
    assert api.client("bob").get("/jobs", params={"person": other}).json()["items"] == [], (
        "jobs of others are not found"
    )


def test_a_job_names_its_portraits(api: ApiHarness) -> None:
    client = api.client()
    person = api.prepared_person()
    id = client.post("/generations", json=order(person, count=3)).json()["id"]
    assert client.get(f"/jobs/{id}").json()["portrait_ids"] == []
    drawn = api.complete_next_job(count=3).result["portraits"]
    assert client.get(f"/jobs/{id}").json()["portrait_ids"] == drawn
    client.delete(f"/portraits/{drawn[1]}")
    [job] = client.get("/jobs", params={"kind": "generate"}).json()["items"]
    assert (job["portraits"], job["portrait_ids"]) == (2, [drawn[0], drawn[2]])
    assert client.get(f"/people/{person}").json()["portraits"] == 2


def test_a_preview_is_sent_while_there_is_one(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    assert client.get(f"/jobs/{things.waiting}/preview").status_code == 404
    place = api.context.files.preview(things.waiting)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"a picture")
    preview = client.get(f"/jobs/{things.waiting}/preview")
    assert (preview.content, preview.headers["content-type"]) == (b"a picture", "image/jpeg")
    assert preview.headers["cache-control"] == "no-store"
