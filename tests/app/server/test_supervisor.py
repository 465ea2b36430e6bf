"""The supervisor with children that are made, and the whole installation with real ones."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.server.supervisor import Child, Part, answers
from tests.tasks.servers import free_port
from tests.tasks.stand import until

ROOT = Path(__file__).parents[3]


def made(tmp_path: Path, program: str) -> Child:
    return Child(Part("made", [sys.executable, "-c", program]), tmp_path, lambda _: None)


def test_a_child_that_dies_comes_back_later_each_time(tmp_path: Path) -> None:
    child, told = made(tmp_path, "print('here', flush=True)"), []
    child._tell = told.append
    now = 100.0
    child.start(now)
    for pause in (1.0, 2.0, 4.0):
        until(lambda: child._process is not None and child._process.poll() is not None)
        child.tend(now)
        assert child.pid is None
        child.tend(now + pause - 0.1)
        assert child.pid is None, "its pause is not over"
        now += pause
        child.tend(now)
        assert child.pid is not None
    child.end(5)
    assert (tmp_path / "made.log").read_text().split() == ["here"] * 4
    assert [re.findall(r"in (\d+) s", each) for each in told] == [["1"], ["2"], ["4"]]


def test_a_child_that_lived_long_starts_anew_without_a_long_pause(tmp_path: Path) -> None:
    child = made(tmp_path, "pass")
    child._pause = 16.0
    child.start(0.0)
    until(lambda: child._process is not None and child._process.poll() is not None)
    child.tend(61.0)
    child.tend(62.1)
    assert child.pid is not None
    child.end(5)


def test_a_child_that_does_not_stop_is_ended_with_its_own_children(tmp_path: Path) -> None:
    program = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)\n"
        "time.sleep(60)"
    )
    child = made(tmp_path, program)
    child.start(0.0)
    until(lambda: (tmp_path / "made.log").read_text().strip())
    grandchild = int((tmp_path / "made.log").read_text())
    child.stop()
    child.end(0.3)
    until(lambda: not alive(grandchild))


def test_a_large_log_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "made.log").write_bytes(bytes(10_000_001))
    child = made(tmp_path, "print('new', flush=True)")
    child.start(0.0)
    child.end(5)
    assert (tmp_path / "made.log").read_text() == "new\n"
    assert (tmp_path / "made.old.log").stat().st_size == 10_000_001


def test_nobody_listens() -> None:
    assert answers("")
    assert not answers(f"http://127.0.0.1:{free_port()}/")


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "app", "serve", "--no-pull", "--api-port", port, "--port", str(free_port())]
        environment = {**os.environ, "PORTRAIT_HOME": str(tmp_path)}
        answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 4
    assert port in answer.stderr
    assert not (tmp_path / "logs").exists()


class Installed:
    """`portrait serve` in a process of its own."""

    def __init__(self, home: Path) -> None:
        self.port, self.api_port = free_port(), free_port()
        self.api = f"http://127.0.0.1:{self.api_port}/v1"
        command = ["serve", "--no-pull", "--port", str(self.port), "--api-port", str(self.api_port)]
        models = os.environ.get("PORTRAIT_HOME", str(Path.home() / ".portrait"))
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", *command],
            cwd=ROOT,
            env={**os.environ, "PORTRAIT_HOME": str(home), "PORTRAIT_MODELS__FOLDER": f"{models}/models"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        until(lambda: "Ctrl-C" in self.text, within=90, what="it did not start")

    @property
    def text(self) -> str:
        return "".join(self.said)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)

    def children(self) -> dict[str, int]:
        """Pids of the direct children by what they are."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if parent == self.process.pid and len(words) > 3:
                name = words[3].decode() if words[2] == b"app" else words[2].decode()
                found[name + (words[5].decode() if words[3] == b"worker" else "")] = int(folder.name)
        return found

    def code(self) -> str:
        return re.findall(r"sign-in\?code=(\S+)", self.text)[0]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(40)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    installed = Installed(tmp_path)
    yield installed
    if installed.process.poll() is None:
        installed.stop()


@pytest.mark.services
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_command_serves_and_loses_nothing(installed: Installed) -> None:
    key = httpx.post(f"{installed.api}/sign-in", json={"code": installed.code()}).json()["secret"]
    with httpx.Client(base_url=installed.api, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        assert client.get("/me").json()["role"] == "admin"
        assert httpx.post(f"{installed.api}/sign-in", json={"code": installed.code()}).status_code == 401
        until(lambda: client.get("/ready").json()["checks"]["workers"] == "ok", within=60)
        before = installed.children()
        assert set(before) == {"api", "workercpu", "workerio", "keeper", "app.server.web"}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(installed.children()) == 5 and answers(f"{installed.api}/health"), within=60)
        assert set(installed.children().values()).isdisjoint(before.values())
        assert client.get("/me").json()["owner"] == "me", "the key still opens"
    running = installed.children()
    assert installed.stop() == 0
    assert "Stopped." in installed.text
    assert not any(alive(pid) for pid in running.values())


@pytest.mark.services
@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends children with their parent")
def test_killed_itself_it_leaves_no_child(installed: Installed) -> None:
    running = installed.children()
    installed.process.kill()
    installed.process.wait()
    until(lambda: not any(alive(pid) for pid in running.values()), within=40)


def alive(pid: int) -> bool:
    try:
        return "Z" not in (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def test_told_to_stop_it_tells_its_children(tmp_path: Path) -> None:
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('told', flush=True), sys.exit(0)))\n"
        "print('here', flush=True)\n"
        "time.sleep(60)"
    )
    script = (
        "import json, sys\nfrom pathlib import Path\nfrom app.server.supervisor import House, Part\n"
        "parts = [Part(name, [sys.executable, '-c', sys.argv[2]]) for name in ('a', 'b')]\n"
        "House(parts, Path(sys.argv[1]), lambda text: None).run(lambda: print(json.dumps('ready'), flush=True))"
    )
    house = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert house.stdout is not None
    assert json.loads(house.stdout.readline()) == "ready"
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    until(lambda: all(log.exists() and "here" in log.read_text() for log in logs))
    house.send_signal(signal.SIGTERM)
    assert house.wait(20) == 0
    assert all(log.read_text().split() == ["here", "told"] for log in logs)
