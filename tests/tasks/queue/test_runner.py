"""One job from claim to settlement, in this process, with flows that are made."""

import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from portrait.errors import UserError
from tasks.files import Files
from tasks.jobs import Job, Limits
from tasks.ledger.ledger import Store
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import SelfieRow
from tasks.queue.flows import Done, Work
from tasks.queue.runner import Runner, said, share
from tasks.settings import Lease
from tests.tasks.made_flows import MadeFlows
from tests.tasks.stand import new_job, portraits_of


@pytest.fixture
def runner(sqlite: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))
    lease = Lease(seconds=2, heartbeat=0.1, failures=2)
    return Runner("w", sqlite, Files(tmp_path / "data"), MadeFlows(), lease, MadeFlows().abilities().words)


def run(runner: Runner, job: Job) -> Job:
    runner.store.jobs.add(job)
    assert runner.once("cpu")
    return runner.store.jobs.get(job.owner, job.id)


def left(runner: Runner) -> list[str]:
    root = runner.files.root
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_rows_and_files_appear_together(runner: Runner) -> None:
    job = run(runner, new_job(wants={"count": 3}))
    assert (job.state, job.progress) == ("succeeded", 1)
    drawn = portraits_of(runner.store, job)
    assert [row.id for row in drawn] == job.result["portraits"]
    assert left(runner) == [f"owners/ann/jobs/{job.id}/{row.file}" for row in drawn]
    assert [row.number for row in runner.store.portraits.list("ann").items] == [1, 2, 3], "the best first"
    assert not runner.once("cpu")


@pytest.mark.parametrize(
    ("fails", "branch", "code"),
    [("user", "UserError", "made_user"), ("operator", "OperatorError", "made_operator")],
)
def test_what_cannot_be_helped_fails_at_once(runner: Runner, fails: str, branch: str, code: str) -> None:
    job = run(runner, new_job(wants={"fails": fails}))
    assert job.state == "failed"
    assert job.fault is not None
    assert (job.fault.branch, job.fault.code) == (branch, code)
    assert str(runner.files.root) not in job.fault.message
    assert (job.failures, left(runner)) == (0, [])


@pytest.mark.parametrize(("fails", "code"), [("engine", "made_engine"), ("unknown", "unexpected")])
def test_a_failure_is_counted_and_tried_again(
    runner: Runner, fails: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tasks"):
        job = run(runner, new_job(wants={"fails": fails}))
        assert (job.state, job.failures) == ("queued", 1)
        assert runner.once("cpu")
    job = runner.store.jobs.get("ann", job.id)
    assert (job.state, job.failures) == ("failed", 2)
    assert job.fault is not None
    assert job.fault.code == code
    assert "Ann's" not in caplog.text, "no names in the log"
    assert "/home/ann" not in caplog.text
    assert fails != "unknown" or "made_flows.py" in caplog.text


def test_verdicts_are_kept_when_no_photo_can_be_used(runner: Runner) -> None:
    person = runner.store.people.add("ann", "Ann", "1", "Ann", 100.0)
    photo = SelfieRow("selfie-1", "ann", person.id, "me.jpg", "a" * 64, 1, 1, 1, "JPEG", 100.0)
    runner.store.people.add_selfie(photo, 9)
    verdict = {"file": "selfie-1", "verdict": "refuse", "reasons": [{"code": "no_face", "tip": "x"}], "likeness": None}

    class Refusing(MadeFlows):
        def __call__(self, work: Work) -> Done:
            work.names["selfie-1"] = "me.jpg"
            raise UserError(
                "no_usable_photos", "The photo selfie-1 shows no face.", {"photos": [{**verdict, "quality": None}]}
            )

    job = run(replace(runner, flows=Refusing()), new_job())
    assert job.fault is not None
    assert job.fault.message == "The photo me.jpg shows no face."
    assert runner.store.people.selfie("ann", "selfie-1").verdict == "refuse"


def test_cancelled_between_two_steps(runner: Runner) -> None:
    class Cancelling(MadeFlows):
        def __call__(self, work: Work) -> Done:
            work.progress(0, 9, "Drawing")
            runner.store.jobs.cancel("ann", work.job.id, time.time())
            time.sleep(0.3)
            work.progress(1, 9, "Drawing")
            raise AssertionError("went on")

    job = run(replace(runner, flows=Cancelling()), new_job())
    assert (job.state, job.failures) == ("cancelled", 0)


def test_a_flow_that_ends_after_it_was_cancelled_delivers_nothing(runner: Runner) -> None:
    class Late(MadeFlows):
        def __call__(self, work: Work) -> Done:
            done = super().__call__(work)
            runner.store.jobs.cancel("ann", work.job.id, time.time())
            return done

    job = run(replace(runner, flows=Late()), new_job())
    assert (job.state, left(runner)) == ("cancelled", [])


def test_who_lost_the_lease_leaves_nothing(runner: Runner) -> None:
    class Slow(MadeFlows):
        def __call__(self, work: Work) -> Done:
            done = super().__call__(work)
            runner.store.queue.take_back_lost(time.time() + 60, Limits())
            return done

    job = run(replace(runner, flows=Slow()), new_job())
    assert (job.state, job.losses, left(runner)) == ("queued", 1, [])
    assert runner.once("cpu")
    assert runner.store.jobs.get("ann", job.id).state == "succeeded"
    assert len(portraits_of(runner.store, job)) == 1


def test_a_heart_keeps_a_slow_job(runner: Runner) -> None:
    class Deaf(MadeFlows):
        def __call__(self, work: Work) -> Done:
            until = time.monotonic() + 2.6
            while time.monotonic() < until:
                time.sleep(0.2)
                assert runner.store.queue.take_back_lost(time.time(), Limits()) == []
            return super().__call__(work)

    assert run(replace(runner, flows=Deaf()), new_job()).state == "succeeded"


def test_a_worker_that_stops_gives_its_job_back(runner: Runner) -> None:
    from tasks.ledger.rows import WorkerRow

    runner.store.staff.arrive(WorkerRow("w", ["cpu"], [], {}, "cpu", 1.0, 1.0, stopping=True))
    job = run(runner, new_job())
    assert (job.state, job.losses, job.failures) == ("queued", 0, 0)


def test_progress_is_written_at_most_twice_a_second(runner: Runner) -> None:
    class Talking(MadeFlows):
        def __call__(self, work: Work) -> Done:
            for step in range(120):
                work.progress(step, 120, "Drawing", np.full((2000, 1000, 3), 90, np.uint8))
                time.sleep(0.01)
            assert runner.files.preview(work.job.id).stat().st_size < 20_000
            return Done(Outcome(), lambda: None)

    begun = time.monotonic()
    job = run(replace(runner, flows=Talking()), new_job())
    most = 2 * (time.monotonic() - begun) + 1
    written = [each for each in runner.store.jobs.events("ann", job.id) if each.kind == "progress"]
    assert 2 <= len(written) <= most < 120
    assert written[0].data["preview"] == 1
    assert left(runner) == [], "the preview goes with the job"


def test_where_a_step_lies_in_the_whole() -> None:
    assert share("looking", 5, 10) == pytest.approx(0.35)
    assert share("measuring", 1, 1) == pytest.approx(0.98)
    assert share("unheard-of", 0, 0) == 0
    assert said("Looking at selfie-1", {"selfie-1": "me.jpg"}) == "Looking at me.jpg"


def test_models_are_let_go_between_jobs_and_not_during_one(runner: Runner, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runner.rest()
    assert runs.read_text().split() == ["rest"]
    with runner.busy:
        runner.rest()
    assert runs.read_text().split() == ["rest"]
    assert run(runner, new_job()).state == "succeeded"
    assert not runner.busy.locked()


def test_models_that_cannot_be_let_go_do_not_stop_the_worker(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(flows: MadeFlows) -> None:
        raise RuntimeError("CUDA of Ann")

    monkeypatch.setattr(MadeFlows, "rest", fail)
    runner.rest()
    assert "models were not let go: RuntimeError" in caplog.text
    assert "Ann" not in caplog.text
    assert not runner.busy.locked()
