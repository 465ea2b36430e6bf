"""What says of worker and keeper that they live, without a database."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tasks.queue.processes import liveness
from tests.tasks.stand import ROOT, Stand, wait_until


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))


def test_who_beats_is_alive_until_it_hangs_or_ends() -> None:
    assert not liveness.is_alive("worker")
    liveness.beat("worker")
    assert liveness.is_alive("worker")
    assert not liveness.is_alive("keeper")
    (file,) = liveness._folder().iterdir()
    os.utime(file, (time.time() - 120, time.time() - 120))
    assert not liveness.is_alive("worker"), "it has not beaten for two minutes"
    liveness.beat("worker")
    liveness.forget("worker")
    assert not liveness.is_alive("worker")


def test_a_process_that_was_killed_is_forgotten_and_one_that_hangs_is_told() -> None:
    liveness.beat("worker")
    with subprocess.Popen(["sleep", "60"]) as other:
        file = liveness._folder() / liveness._name("worker", other.pid)
        file.touch()
        os.utime(file, (0, 0))
        assert not liveness.is_alive("worker"), "one of two hangs"
        other.kill()
    assert liveness.is_alive("worker")
    assert not file.exists()


def test_others_machines_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "elsewhere")
        liveness.beat("keeper")
    assert not liveness.is_alive("keeper")


def test_a_thread_beats_until_it_is_stopped() -> None:
    stop = threading.Event()
    liveness.keep_beating("keeper", 0.05, stop)
    wait_until(lambda: liveness.is_alive("keeper", within=0.5))
    stop.set()
    wait_until(lambda: not liveness.is_alive("keeper"))


def alive(stand: Stand, part: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "app", "alive", part]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **stand.environment}, capture_output=True, text=True)


def test_one_that_ends_while_it_is_asked_for_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends_meanwhile(pid: int) -> bool:
        liveness.forget("worker")
        return True

    liveness.beat("worker")
    monkeypatch.setattr(liveness, "is_running", ends_meanwhile)
    assert not liveness.is_alive("worker")


@pytest.mark.services
def test_the_command_says_whether_a_worker_lives_also_while_the_database_is_away(stand: Stand) -> None:
    dead = alive(stand, "worker")
    assert dead.returncode == 4
    assert "portrait worker" in dead.stderr
    stand.start_worker()
    (stand.home / "ledger.db").rename(stand.home / "away.db")
    assert alive(stand, "worker").returncode == 0
    (stand.home / "away.db").rename(stand.home / "ledger.db")
