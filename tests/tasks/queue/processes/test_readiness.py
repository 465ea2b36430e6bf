"""What a worker can do is found out in a fork: the libraries that answer it are gone with it, and what is missing is told."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines import build
from pipelines.settings import Settings
from tasks.queue.flows import PortraitFlows
from tasks.settings import home
from tests.tasks.stand import ROOT, Stand, wait_until

LIBRARIES = ("mediapipe", "matplotlib", "onnxruntime", "ai_edge_litert", "dlib", "skimage", "scipy", "torch")
"""What engines import, and a worker with nothing to do does not hold."""
ASK = """
import json, os, sys, threading
from portrait.errors import OperatorError, PortraitError, UserError
from tasks.queue.processes.readiness import find_abilities
from tasks.queue.running.context import Abilities

class Made:
    def abilities(self):
        ASKED
        return Abilities(frozenset({"prepare"}), {"look": [str(os.getpid() != here)]})

here = os.getpid()
BEFORE
try:
    found = find_abilities(Made())
    print(json.dumps([sorted(found.words), found.missing["look"][0]]))
except PortraitError as error:
    print(json.dumps([type(error).__name__, error.code, error.message, dict(error.details)]))
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they are asked in the process itself")


class TellingFlows(PortraitFlows):
    """The flows of workers, which write what is loaded between two beats of a worker."""

    def release_idle(self) -> None:
        super().release_idle()
        written = home() / "loaded.new"
        written.write_text(" ".join(sys.modules))
        written.replace(home() / "loaded")


def open_telling_flows(settings: Settings) -> TellingFlows:
    return TellingFlows(settings, build.open_engines(settings))


def run(program: str, **environment: str) -> list[Any]:
    """The JSON that a program of its own process prints at last."""
    environment = {**os.environ, **environment}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def asked(what: str, before: str = "") -> list[Any]:
    """What is found where flows do this when they are asked."""
    return run(ASK.replace("ASKED", what).replace("BEFORE", before))


@linux
def test_a_worker_at_rest_holds_no_library_of_engines(stand: Stand) -> None:
    stand.start_worker(FLOWS=f"{__name__}:open_telling_flows")
    wait_until((stand.home / "loaded").exists, what=stand.log())
    loaded = (stand.home / "loaded").read_text().split()
    assert "tasks.queue.runner" in loaded
    assert [name for name in LIBRARIES if name in loaded] == []
    (row,) = stand.ledger.workers.list_live(time.time())
    assert "portrait models pull" in " ".join(row.missing["prepare"]), "its engines were asked all the same"


@linux
def test_flows_are_asked_in_a_fork_and_beside_threads_here() -> None:
    assert asked("pass") == [["prepare"], "True"]
    thread = "ended = threading.Event(); threading.Thread(target=ended.wait, daemon=True).start()"
    assert asked("pass", before=thread) == [["prepare"], "False"]


@linux
def test_what_they_refuse_is_raised_here() -> None:
    assert asked("raise UserError('made', 'Why.', {'a': 1})") == ["UserError", "made", "Why.", {"a": 1}]


@linux
@pytest.mark.parametrize(("ended", "code"), [("os.kill(os.getpid(), 11)", "-11"), ("raise ValueError('why')", "1")])
def test_a_library_that_ends_the_process_is_told(ended: str, code: str) -> None:
    kind, error, message, _ = asked(ended)
    assert (kind, error) == ("OperatorError", "missing_library")
    assert f"({code})" in message
    assert "portrait doctor" in message


def test_a_broken_package_is_told_by_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "mediapipe").mkdir()
    (tmp_path / "mediapipe/__init__.py").write_text("raise ImportError('libGL.so.1 is not there')")
    program = (
        "import json\n"
        "from tasks.queue.flows import open_flows\n"
        "from tasks.queue.processes.readiness import find_abilities\n"
        "from tasks.settings import load\n"
        "found = find_abilities(open_flows(load()))\n"
        "print(json.dumps([sorted(found.words), found.missing['prepare']]))\n"
    )
    words, missing = run(program, PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]), PORTRAIT_HOME=str(tmp_path))
    assert words == []
    assert "The engine faces/blazeface cannot be loaded (libGL.so.1 is not there)" in " ".join(missing)
