"""What operators may change of jobs: their priority; and what they are told of workers."""

import time
from dataclasses import replace

from portrait.errors import UserError
from tasks.ledger.rows import WorkerRow
from tests.tasks.api.harness import ApiHarness
from tests.tasks.stand import new_job


def test_a_job_of_a_higher_priority_is_begun_first(api: ApiHarness) -> None:
    ledger, operator = api.context.ledger, api.client("olga", "operator")
    first, second, third = (ledger.jobs.add(new_job(f"owner{at}", created=float(at))).id for at in range(3))
    for id, priority in ((third, 5), (first, -1)):
        answer = operator.patch(f"/operator/jobs/{id}", json={"priority": priority})
        assert (answer.status_code, answer.json()["priority"]) == (200, priority)
    claimed = [ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60) for _ in range(3)]
    assert [job.id for job in claimed if job is not None] == [third, second, first]


def test_a_priority_stays_when_the_job_is_given_back(api: ApiHarness) -> None:
    ledger = api.context.ledger
    ledger.jobs.add(replace(new_job(), priority=7))
    job = ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60)
    assert job is not None
    assert ledger.queue.release(job, time.time()).priority == 7


def test_priorities_have_bounds_and_end_with_the_job(api: ApiHarness) -> None:
    ledger, operator = api.context.ledger, api.client("olga", "operator")
    job = ledger.jobs.add(new_job())
    assert operator.patch(f"/operator/jobs/{job.id}", json={"priority": 101}).status_code == 422
    assert operator.patch("/operator/jobs/job_none", json={"priority": 1}).status_code == 404
    held = ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60)
    assert held is not None
    ledger.queue.fail(held, time.time(), UserError("no_face", "There is no face."))
    answer = operator.patch(f"/operator/jobs/{job.id}", json={"priority": 1})
    assert (answer.status_code, answer.json()["code"]) == (409, "bad_transition")


def test_the_version_of_each_worker_is_told(api: ApiHarness) -> None:
    now = time.time()
    for id, version in (("old", "0.1.0"), ("new", "0.2.0")):
        row = WorkerRow(id, ["cpu"], [], {}, "cpu", now, now, version=version)
        api.context.ledger.workers.register(row)
    api.context.ledger.workers.request_stop("old", now + 60)
    told = api.client("olga", "operator").get("/operator/workers").json()["items"]
    assert {(each["id"], each["version"], each["stopping"]) for each in told} == {
        ("old", "0.1.0", True),
        ("new", "0.2.0", False),
    }
