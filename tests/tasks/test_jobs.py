from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from portrait.errors import Cancelled, EngineError, UserError
from tasks import jobs
from tasks.jobs import Fault, Job, LeaseLost, Limits
from tests.tasks.stand import new_job

FAULT = Fault("EngineError", "made", "It broke.")


def held(state: str = "running", **values: Any) -> Job:
    lease = {"token": "t", "lease_until": 20.0, "started": 11.0, "worker": "w"}
    return new_job(created=10.0, state=state, **lease, **values)


def test_a_run_that_succeeds() -> None:
    job = jobs.report_progress(held(), "drawing", 0.4, "Drawing")
    assert (job.phase, job.progress) == ("drawing", 0.4)
    assert jobs.report_progress(job, "measuring", 0.2, "Measuring").progress == 0.4, "progress never falls"
    done = jobs.succeed(job, 30.0, {"portraits": ["p"]})
    assert (done.state, done.progress, done.finished, done.token, done.lease_until) == ("succeeded", 1, 30, None, None)


def test_cancelling_wins_over_success() -> None:
    queued = jobs.request_cancel(held(), 12.0)
    assert queued.state == "cancelling"
    assert queued.token == "t", "the worker still has it"  # noqa: S105 -- a lease
    with pytest.raises(Cancelled):
        jobs.report_progress(queued, "drawing", 0.5, "")
    with pytest.raises(Cancelled):
        jobs.succeed(queued, 13.0, {})
    assert jobs.fail(queued, 13.0, FAULT).state == "cancelled"
    assert jobs.retry_or_fail(queued, 13.0, FAULT, Limits()).state == "cancelled"
    assert jobs.requeue_expired(queued, 13.0, Limits()).state == "cancelled"
    assert jobs.release(queued, 13.0).state == "cancelled"


def test_queued_is_cancelled_at_once_and_twice_is_once() -> None:
    cancelled = jobs.request_cancel(new_job(), 12.0)
    assert cancelled.state == "cancelled"
    assert jobs.request_cancel(cancelled, 13.0) == cancelled


def test_losses_and_failures_are_counted_apart() -> None:
    job = jobs.requeue_expired(held(failures=2), 20.0, Limits())
    assert (job.state, job.losses, job.failures, job.token, job.progress) == ("queued", 1, 2, None, 0)
    assert jobs.requeue_expired(held(losses=3), 20.0, Limits()).state == "queued"
    dead = jobs.requeue_expired(held(losses=4), 20.0, Limits()).fault
    assert dead is not None
    assert dead.code == "workers_lost"
    again = jobs.retry_or_fail(held(losses=5), 20.0, FAULT, Limits())
    assert (again.state, again.failures, again.losses, again.fault) == ("queued", 1, 5, FAULT)
    assert jobs.retry_or_fail(held(failures=2), 20.0, FAULT, Limits()).state == "failed"


def test_given_back_counts_nothing() -> None:
    job = jobs.release(held(losses=1, failures=1), 20.0)
    assert (job.state, job.losses, job.failures, job.worker) == ("queued", 1, 1, None)


def test_a_retried_job_has_its_counts_at_zero() -> None:
    dead = jobs.retry_or_fail(held(failures=2, losses=3), 20.0, FAULT, Limits())
    again = jobs.retry(dead, 50.0)
    assert (again.state, again.losses, again.failures, again.fault, again.created) == ("queued", 0, 0, None, 50.0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: jobs.succeed(new_job(), 1.0, {}),
        lambda: jobs.report_progress(new_job(), "", 0.1, ""),
        lambda: jobs.retry(held(), 1.0),
        lambda: jobs.retry(new_job(state="succeeded"), 1.0),
        lambda: jobs.request_cancel(new_job(state="succeeded"), 1.0),
        lambda: jobs.request_cancel(new_job(state="failed"), 1.0),
        lambda: jobs.expire(held(), 1.0),
        lambda: jobs.requeue_expired(new_job(), 1.0, Limits()),
        lambda: jobs.release(new_job(state="expired"), 1.0),
    ],
)
def test_other_transitions_are_refused(wrong: Callable[[], Job]) -> None:
    with pytest.raises(UserError) as caught:
        wrong()
    assert caught.value.code == "bad_transition"


def test_needs_and_faults() -> None:
    assert jobs.required_abilities("prepare") == {"prepare"}
    assert jobs.required_abilities("generate", ["studio", "template"]) == {"draw:studio", "draw:template"}
    assert jobs.fault_from(EngineError("made", "It broke.", {"a": 1})) == Fault(
        "EngineError", "made", "It broke.", {"a": 1}
    )
    assert jobs.fault_from(LeaseLost("lease_lost", "Gone.")).branch == "Cancelled"


def test_place_when_owners_take_turns() -> None:
    assert jobs.queue_positions([1], [(0, 0)]) == [1]
    assert jobs.queue_positions([3], [(0, 2), (0, 0)]) == [3, 1]
    # One other owner with ten jobs, whose turn comes first: they alternate.
    assert jobs.queue_positions([10, 1], [(1, 0)]) == [2]
    assert jobs.queue_positions([1, 10], [(0, 0)]) == [1]
    assert jobs.queue_positions([10, 3], [(1, 2)]) == [6]
    assert jobs.queue_positions([1, 3, 10], [(1, 2)]) == [6]


def test_learning_and_drawing_of_words_wait_in_queues_of_their_own() -> None:
    words = ("prepare", "draw:studio", "draw:text", "base:sdxl:lora", "train:sdxl")
    assert [jobs.queue_for(each) for each in words] == [None, None, "gpu.generate", "gpu.generate", "gpu.train"]


def test_estimate_goes_by_the_median_of_past_runs() -> None:
    past = [10.0, 12.0, 90.0]
    assert jobs.seconds_left(new_job(), 0.0, [], 1, 1) is None
    assert jobs.seconds_left(new_job(units=2), 0.0, past, 1, 1) == 24.0
    assert jobs.seconds_left(new_job(), 0.0, past, 5, 2) == 36.0
    assert jobs.seconds_left(held(), 15.0, past, 1, 1) == 8.0
    assert jobs.seconds_left(replace(held(), progress=0.01), 15.0, [], 1, 1) is None, "too early to tell"


def test_the_estimate_of_a_run_goes_by_its_own_progress_as_soon_as_there_is_one() -> None:
    past = [2.0]
    quarter = replace(held(), progress=0.25)
    assert jobs.seconds_left(quarter, 15.0, [], 1, 1) == jobs.seconds_left(quarter, 15.0, past, 1, 1) == 12.0
    assert jobs.seconds_left(quarter, 19.0, past, 1, 1) == 24.0, "a step that takes long makes the rest longer"
    assert jobs.seconds_left(replace(held(), progress=0.98), 19.0, past, 1, 1) is None, "not a second for minutes"


def test_nothing_is_told_when_past_runs_were_shorter_or_the_worker_is_lost() -> None:
    assert jobs.seconds_left(held(), 12.5, [2.0], 1, 1) is None, "half a second would be left"
    assert jobs.seconds_left(held(), 19.0, [2.0], 1, 1) is None
    assert jobs.seconds_left(replace(held(), progress=0.5), 20.5, [90.0], 1, 1) is None, "its lease is over"
    assert jobs.seconds_left(held("cancelling", progress=0.5), 15.0, [90.0], 1, 1) is None
    assert jobs.seconds_left(replace(held(), state="succeeded"), 15.0, [90.0], 1, 1) is None


def test_what_is_tried_again_is_not_seen() -> None:
    failed = replace(jobs.fail(held(), 20.0, FAULT), seen=21.0)
    assert jobs.retry(failed, 22.0).seen is None
