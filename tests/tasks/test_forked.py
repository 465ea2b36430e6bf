"""Forked processes are like those that are started: their code, environment, log and signals are their own."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.tasks import forked
from tests.tasks.stand import kill

MODULE = "tests.tasks.test_forked"


def told() -> int:
    """What a forked process does here: print what it is given, and end with 7."""
    print(os.environ["GIVEN"], os.environ.get("HOME"), os.getsid(0) == os.getpid(), flush=True)  # noqa: T201
    return 7


def test_what_is_forked_has_an_environment_a_log_and_an_end_of_its_own(tmp_path: Path) -> None:
    template, log = forked.template("json"), tmp_path / "log"
    processes = [template.fork(f"{MODULE}:told", {"GIVEN": given}, log) for given in ("one", "two")]
    assert [each.wait(60) for each in processes] == [7, 7]
    assert sorted(log.read_text().splitlines()) == ["one None True", "two None True"]
    broken = template.fork("nowhere:nothing", os.environ, log)
    assert broken.wait(60) == 1
    assert "No module named 'nowhere'" in log.read_text()


def test_what_is_forked_is_told_to_end_and_waited_for(tmp_path: Path) -> None:
    waiting, other = (forked.template("json").fork("signal:pause", os.environ, tmp_path / "log") for _ in range(2))
    assert waiting.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.1)
    waiting.send_signal(signal.SIGTERM)
    assert (waiting.wait(60), waiting.poll()) == (-signal.SIGTERM, -signal.SIGTERM)
    assert other.poll() is None
    kill(other)
    assert other.returncode == -signal.SIGKILL
