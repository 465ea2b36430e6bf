"""Commands as forks of a process that has imported what they share, with small modules in place of the commands."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tasks.stand import wait_until

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere commands are processes of their own")
PARENT = """
import json, os, signal, sys, time
from pathlib import Path
from app.server.supervisor import Process, Service
from app.server.processes import forks

signal.signal(signal.SIGTERM, lambda *_: print("the supervisor's handler", flush=True))
made = Service("made", [sys.executable, "-m", sys.argv[2], *sys.argv[3:]], forked=True, environment={"GIVEN": "yes"})
process = Process(made, Path(sys.argv[1]), print)
process.start(time.monotonic())
forked = isinstance(process._process, forks.Fork)
print(json.dumps({"pid": process.pid, "forked": forked}), flush=True)
try:
    code = process._process.wait(float(os.environ.get("WAIT", "20")))
except Exception as error:
    code = type(error).__name__
process.wait(0.2)
print(json.dumps({"code": code}), flush=True)
"""


def run(tmp_path: Path, program: str, *words: str, **environment: str) -> tuple[list[dict[str, object]], str]:
    """What the parent says, and the log of the fork, which runs the program as a module."""
    (tmp_path / "made_program.py").write_text(program)
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    parent = subprocess.run(
        [sys.executable, "-c", PARENT, str(tmp_path), "made_program", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = [json.loads(line) for line in parent.stdout.splitlines() if line.startswith("{")]
    assert "handler" not in parent.stdout + (tmp_path / "made.log").read_text()
    return said, (tmp_path / "made.log").read_text()


def test_it_is_what_the_command_line_would_have_made_of_it(tmp_path: Path) -> None:
    program = (
        "import atexit, os, signal, sys, threading, time\n"
        "atexit.register(print, 'at exit')\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()\n"
        "print(__name__, sys.argv[1:], os.environ['GIVEN'], sys.stdin.read() == '', os.getsid(0) == os.getpid())\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
        "print(open('/proc/self/comm').read().strip())\n"
        "sys.exit(3)\n"
    )
    said, log = run(tmp_path, program, "--port", "1")
    assert said[0]["forked"] is True
    assert said[1] == {"code": 3}
    words, signals, name, *ended = log.splitlines()
    assert words == "__main__ ['--port', '1'] yes True True"
    assert signals == "True set()"
    assert name == "portrait-made"
    assert ended == ["thread", "at exit"], "as an interpreter ends"


@pytest.mark.parametrize(
    ("program", "code", "told"),
    [
        ("pass", 0, ""),
        ("raise SystemExit('why')", 1, "why"),
        ("raise ValueError('why')", 1, "ValueError: why"),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import os; os.kill(os.getpid(), 15)", -15, ""),
    ],
)
def test_how_it_ended_is_known(tmp_path: Path, program: str, code: int, told: str) -> None:
    said, log = run(tmp_path, program)
    assert said[1] == {"code": code}
    assert told in log


def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    program = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('here', flush=True)\ntime.sleep(60)"
    said, log = run(tmp_path, program, WAIT="0.5")
    assert said[1] == {"code": "TimeoutExpired"}
    assert log == "here\n"
    pid = int(str(said[0]["pid"]))
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "made_program.py").write_text("import time; print('here', flush=True); time.sleep(60)")
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), "made_program"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = json.loads(parent.stdout.readline())["pid"]
    wait_until(lambda: (tmp_path / "made.log").read_text() == "here\n")
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    parent.stdout.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text())


def test_nothing_is_forked_beside_threads_and_what_is_shared_starts_none() -> None:
    program = (
        "import sys, threading\n"
        "from app.server import supervisor\n"
        "from app.server.processes import forks\n"
        "from app.commands import serve\n"
        "forks.import_shared()\n"
        "loaded = [name for name in ('numpy', 'cv2', 'onnxruntime', 'torch', 'pyvips') if name in sys.modules]\n"
        "print(forks.can_fork(), loaded, [name for name in forks.SHARED if name not in sys.modules])\n"
        "ended = threading.Event()\n"
        "threading.Thread(target=ended.wait).start()\n"
        "print(forks.can_fork())\n"
        "ended.set()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["True [] []", "False"]
