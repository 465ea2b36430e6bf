"""One job from claim to settlement, in this process, with flows that are made."""

import logging
import threading
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from portrait.errors import UserError
from portrait.ports import Progress
from tasks.files import Files
from tasks.jobs import Job, Limits
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import SelfieRow
from tasks.queue.flows import FlowResult, JobContext
from tasks.queue.runner import JobRunner, overall_progress, with_names
from tasks.settings import LeaseSettings
from tasks.styles.available import AvailableStyles
from tests.tasks.fake_flows import FakeFlows
from tests.tasks.stand import new_job, portraits_of


@pytest.fixture
def runner(sqlite: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobRunner:
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))
    lease = LeaseSettings(seconds=2, heartbeat=0.1, failures=2)
    return JobRunner("w", sqlite, Files(tmp_path / "data"), FakeFlows(), lease, FakeFlows().abilities().words)


def run(runner: JobRunner, job: Job) -> Job:
    runner.ledger.jobs.add(job)
    assert runner.run_next("cpu")
    return runner.ledger.jobs.get(job.owner, job.id)


def left(runner: JobRunner) -> list[str]:
    root = runner.files.root
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_rows_and_files_appear_together(runner: JobRunner) -> None:
    job = run(runner, new_job(params={"count": 3}))
    assert (job.state, job.progress) == ("succeeded", 1)
    drawn = portraits_of(runner.ledger, job)
    assert [row.id for row in drawn] == job.result["portraits"]
    assert left(runner) == [f"owners/ann/jobs/{job.id}/{row.file}" for row in drawn]
    assert [row.number for row in runner.ledger.portraits.list("ann").items] == [1, 2, 3], "the best first"
    assert not runner.run_next("cpu")


@pytest.mark.parametrize(
    ("fails", "branch", "code"),
    [("user", "UserError", "made_user"), ("operator", "OperatorError", "made_operator")],
)
def test_what_cannot_be_helped_fails_at_once(runner: JobRunner, fails: str, branch: str, code: str) -> None:
    job = run(runner, new_job(params={"fails": fails}))
    assert job.state == "failed"
    assert job.fault is not None
    assert (job.fault.branch, job.fault.code) == (branch, code)
    assert str(runner.files.root) not in job.fault.message
    assert (job.failures, left(runner)) == (0, [])


@pytest.mark.parametrize(("fails", "code"), [("engine", "made_engine"), ("unknown", "unexpected")])
def test_a_failure_is_counted_and_tried_again(
    runner: JobRunner, fails: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "portrait"):
        job = run(runner, new_job(params={"fails": fails}))
        assert (job.state, job.failures) == ("queued", 1)
        assert runner.run_next("cpu")
    job = runner.ledger.jobs.get("ann", job.id)
    assert (job.state, job.failures) == ("failed", 2)
    assert job.fault is not None
    assert job.fault.code == code
    assert "Ann's" not in caplog.text, "no names in the log"
    assert "/home/ann" not in caplog.text
    assert fails != "unknown" or "fake_flows.py" in caplog.text


def test_verdicts_are_stored_when_no_photo_can_be_used(runner: JobRunner) -> None:
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", 100.0)
    photo = SelfieRow("selfie-1", "ann", person.id, "me.jpg", "a" * 64, 1, 1, 1, "JPEG", 100.0)
    runner.ledger.people.add_selfie(photo, 9)
    verdict = {"file": "selfie-1", "verdict": "refuse", "reasons": [{"code": "no_face", "tip": "x"}], "likeness": None}

    class Refusing(FakeFlows):
        def __call__(self, context: JobContext) -> FlowResult:
            context.names["selfie-1"] = "me.jpg"
            raise UserError(
                "no_usable_photos", "The photo selfie-1 shows no face.", {"photos": [{**verdict, "quality": None}]}
            )

    job = run(replace(runner, flows=Refusing()), new_job())
    assert job.fault is not None
    assert job.fault.message == "The photo me.jpg shows no face."
    assert runner.ledger.people.selfie("ann", "selfie-1").verdict == "refuse"


def test_cancelled_between_two_steps(runner: JobRunner) -> None:
    class Cancelling(FakeFlows):
        def __call__(self, context: JobContext) -> FlowResult:
            context.progress(0, 9, "Drawing")
            runner.ledger.jobs.cancel("ann", context.job.id, time.time())
            time.sleep(0.3)
            context.progress(1, 9, "Drawing")
            raise AssertionError("went on")

    job = run(replace(runner, flows=Cancelling()), new_job())
    assert (job.state, job.failures) == ("cancelled", 0)


def test_a_job_is_cancelled_at_a_heartbeat_though_its_step_goes_on(runner: JobRunner) -> None:
    states: list[str] = []

    class Silent(FakeFlows):
        def __call__(self, context: JobContext) -> FlowResult:
            done = super().__call__(context)
            runner.ledger.jobs.cancel("ann", context.job.id, time.time())
            until = time.monotonic() + 10
            while not states and time.monotonic() < until:
                time.sleep(0.02)
                state = runner.ledger.jobs.get("ann", context.job.id).state
                states.extend([state] * (state == "cancelled"))
            return done

    job = run(replace(runner, flows=Silent()), new_job())
    assert states == ["cancelled"], "the person need not wait for the end of the step"
    assert (job.state, job.failures, job.losses, left(runner)) == ("cancelled", 0, 0, [])


def test_a_flow_that_ends_after_it_was_cancelled_delivers_nothing(runner: JobRunner) -> None:
    class Late(FakeFlows):
        def __call__(self, context: JobContext) -> FlowResult:
            done = super().__call__(context)
            runner.ledger.jobs.cancel("ann", context.job.id, time.time())
            return done

    job = run(replace(runner, flows=Late()), new_job())
    assert (job.state, left(runner)) == ("cancelled", [])


def test_a_lost_lease_writes_nothing(runner: JobRunner) -> None:
    class Slow(FakeFlows):
        def __call__(self, context: JobContext) -> FlowResult:
            done = super().__call__(context)
            runner.ledger.queue.requeue_expired(time.time() + 60, Limits())
            return done

    job = run(replace(runner, flows=Slow()), new_job())
    assert (job.state, job.losses, left(runner)) == ("queued", 1, [])
    assert runner.run_next("cpu")
    assert runner.ledger.jobs.get("ann", job.id).state == "succeeded"
    assert len(portraits_of(runner.ledger, job)) == 1


def test_heartbeats_renew_the_lease_of_a_slow_job(runner: JobRunner) -> None:
    class Deaf(FakeFlows):
        def __call__(self, context: JobContext) -> FlowResult:
            until = time.monotonic() + 2.6
            while time.monotonic() < until:
                time.sleep(0.2)
                assert runner.ledger.queue.requeue_expired(time.time(), Limits()) == []
            return super().__call__(context)

    assert run(replace(runner, flows=Deaf()), new_job()).state == "succeeded"


def test_a_worker_that_stops_gives_its_job_back(runner: JobRunner) -> None:
    from tasks.ledger.rows import WorkerRow

    runner.ledger.workers.register(WorkerRow("w", ["cpu"], [], {}, "cpu", 1.0, 1.0, stopping=True))
    job = run(runner, new_job())
    assert (job.state, job.losses, job.failures) == ("queued", 0, 0)


def test_progress_is_written_at_most_twice_a_second(runner: JobRunner) -> None:
    class Talking(FakeFlows):
        def __call__(self, context: JobContext) -> FlowResult:
            for step in range(120):
                context.progress(step, 120, "Drawing", np.full((2000, 1000, 3), 90, np.uint8))
                time.sleep(0.01)
            assert runner.files.preview(context.job.id).stat().st_size < 20_000
            return FlowResult(Outcome(), lambda: None)

    begun = time.monotonic()
    job = run(replace(runner, flows=Talking()), new_job())
    most = 2 * (time.monotonic() - begun) + 1
    written = [each for each in runner.ledger.jobs.events("ann", job.id) if each.kind == "progress"]
    assert 2 <= len(written) <= most < 120
    assert written[0].data["preview"] == 1
    assert left(runner) == [], "the preview goes with the job"


def test_progress_of_a_step_within_the_job() -> None:
    assert overall_progress("looking", 5, 10) == pytest.approx(0.35)
    assert overall_progress("measuring", 1, 1) == pytest.approx(0.98)
    assert overall_progress("unheard-of", 0, 0) == 0
    assert with_names("Looking at selfie-1", {"selfie-1": "me.jpg"}) == "Looking at me.jpg"


def test_models_are_released_between_jobs_and_not_during_one(runner: JobRunner, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runner.release_idle()
    assert runs.read_text().split() == ["release_idle"]
    with runner.busy:
        runner.release_idle()
    assert runs.read_text().split() == ["release_idle"]
    assert run(runner, new_job()).state == "succeeded"
    assert not runner.busy.locked()


def test_what_is_kept_of_people_is_dropped_after_an_erasure(runner: JobRunner, tmp_path: Path) -> None:
    person = runner.ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    runner.release_idle()
    runner.ledger.erasures.erase_person(Request("ann", 2.0), person)
    with runner.busy:
        runner.release_idle()  # a job may be using it
    runner.release_idle()
    runner.release_idle()
    assert (tmp_path / "runs").read_text().split() == ["release_idle", "forget", "release_idle", "release_idle"]


def test_an_error_in_release_idle_does_not_stop_the_worker(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(flows: FakeFlows) -> None:
        raise RuntimeError("CUDA of Ann")

    monkeypatch.setattr(FakeFlows, "release_idle", fail)
    runner.release_idle()
    assert "models could not be unloaded: RuntimeError" in caplog.text
    assert "Ann" not in caplog.text
    assert not runner.busy.locked()


def test_samples_are_drawn_while_nothing_runs_and_stop_for_a_job(runner: JobRunner) -> None:
    class Drawing(FakeFlows):
        def draw_sample(self, styles: AvailableStyles, files: Files, able: Collection[str], progress: Progress) -> bool:
            progress(0, 2, "Drawing")
            runner.ledger.jobs.add(new_job())
            coming = threading.Thread(target=runner.run_next, args=("cpu",))
            coming.start()
            while not runner.wanted.wait(0.01):
                pass
            progress(1, 2, "Drawing")
            raise AssertionError("it went on")

    idle = replace(runner, flows=Drawing())
    assert not runner.draw_sample(), "nothing is left to draw"
    object.__setattr__(runner, "flows", idle.flows)
    assert runner.draw_sample(), "there is more to draw"
    with runner.busy:
        assert runner.draw_sample(), "a job runs"
