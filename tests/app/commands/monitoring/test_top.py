"""`portrait top`, printed once, as JSON, and on a terminal that it keeps up to date."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.rows import WorkerRow
from tasks.settings import load_installation
from tests.app.cli_runner import PORTRAIT, document, run
from tests.tasks.api.harness import new_home
from tests.tasks.stand import new_job, wait_until


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """That of an installation with a worker on a GPU, a job that runs and one that waits where nobody serves its queue."""
    monkeypatch.setenv("PORTRAIT_HOME", str(new_home(tmp_path / "home")))
    monkeypatch.setenv("COLUMNS", "200")
    ledger, now = open_ledger(load_installation().tasks.database), time.time()
    gpus = [{"index": 0, "used": 12_000_000_000, "total": 80_000_000_000}]
    words = ["draw:studio", "base:sdxl", "base:sdxl:lora"]
    ledger.workers.register(
        WorkerRow(
            "machine:10:abc:11", ["cpu"], words, {"look": ["…"]}, "NVIDIA H200", now, now, version="9.9", gpus=gpus
        )
    )
    ledger.jobs.add(new_job("ann[red]"))
    ledger.jobs.add(new_job("bob", queue="gpu.train"))
    job = ledger.queue.claim("machine:10:abc:11", "cpu", {"draw:studio"}, now - 200, 1e6)
    assert job is not None
    ledger.queue.report(job, now, "drawing", 0.25, "Drawing")
    return ledger


def test_the_page_has_queues_jobs_and_workers(ledger: Ledger) -> None:
    answer = run("top", "--once")
    assert answer.returncode == 0, answer.stderr
    lines = [re.sub(r" +", " ", line).strip() for line in answer.stdout.splitlines()]
    assert "gpu.train 1 0 s 0 0" in lines, "one waits, and nobody serves it"
    (job,) = [line for line in lines if line.startswith("job_")]
    assert job.endswith("ann[red] generate drawing 25% 3 min 20 s machine:11"), "an owner's name is no markup"
    (worker,) = [line for line in lines if line.startswith("machine:11")]
    assert "9.9 cpu NVIDIA H200 12 of 80 GB" in worker
    assert worker.endswith("base:sdxl draw:studio")
    assert "no keeper" in lines[0]


def test_on_a_narrow_terminal_ends_of_rows_are_cut_and_not_their_beginnings(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("top", "--once").stdout.splitlines()
    (worker,) = [line for line in lines if line.startswith("machine:11")]
    assert "9.9" in worker
    assert "NVIDIA H200" in worker
    assert "12 of 80 GB" in worker
    assert all(len(line) <= 80 for line in lines)


def test_json_has_all_of_it(ledger: Ledger) -> None:
    found = document(run("top", "--json"))
    assert {"queues", "running", "workers", "keepers", "ended", "failures", "per_minute", "at"} == found.keys()
    assert (found["running"][0]["owner"], found["running"][0]["progress"]) == ("ann[red]", 0.25)
    assert found["workers"][0]["gpus"][0]["total"] == 80_000_000_000
    assert "missing" not in found["workers"][0]


def test_without_a_database_that_answers_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))
    monkeypatch.setenv("PORTRAIT_TASKS__DATABASE", "postgresql://portrait@127.0.0.1:9/portrait")
    answer = run("top", "--once", "--json")
    assert answer.returncode == 4
    assert document(answer)["error"]["code"] == "database_unreachable"


def test_on_a_terminal_the_page_follows_until_ctrl_c(ledger: Ledger) -> None:
    ours, theirs = pty.openpty()
    shown = b""
    # Whoever was started in the background hears no Ctrl-C, nor does what it starts.
    command = ["env", "--default-signal=INT", str(PORTRAIT), "top", "--interval", "0.5"]
    watching = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.set_blocking(ours, False)

    def shows(text: bytes) -> bool:
        nonlocal shown
        with contextlib.suppress(BlockingIOError):
            shown += os.read(ours, 100_000)
        return text in shown

    try:
        wait_until(lambda: shows(b"drawing"), 30, "the job that runs")
        assert b"succeeded" not in shown
        ledger.jobs.add(new_job("late-owner", queue="io"))
        wait_until(lambda: shows(b"io "), 30, "the queue that came later")
        os.killpg(watching.pid, signal.SIGINT)
        # What it writes is read on: a terminal that is full holds it up.
        wait_until(lambda: shows(b"") and watching.poll() is not None, 20, "its end")
        assert watching.returncode == 0
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)
        os.close(theirs)
