"""The supervisor with small test programs, and `portrait serve` with its real processes."""

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

from app.server import supervisor
from app.server.supervisor import Process, Service, Supervisor, is_healthy
from portrait.errors import OperatorError
from tests.tasks.servers import free_port
from tests.tasks.stand import wait_until

ROOT = Path(__file__).parents[3]


def start_process(tmp_path: Path, program: str) -> Process:
    return Process(Service("made", [sys.executable, "-c", program]), tmp_path, lambda _: None)


def test_a_process_that_dies_is_restarted_after_growing_delays(tmp_path: Path) -> None:
    process, reports = start_process(tmp_path, "print('here', flush=True)"), []
    process._report = reports.append
    now = 100.0
    process.start(now)
    for pause in (1.0, 2.0, 4.0):
        wait_until(lambda: process._process is not None and process._process.poll() is not None)
        process.check(now)
        assert process.pid is None
        process.check(now + pause - 0.1)
        assert process.pid is None, "its pause is not over"
        now += pause
        process.check(now)
        assert process.pid is not None
    process.wait(5)
    assert (tmp_path / "made.log").read_text().split() == ["here"] * 4
    assert [re.findall(r"in (\d+) s", each) for each in reports] == [["1"], ["2"], ["4"]]


def test_a_process_that_ran_long_is_restarted_after_the_first_delay(tmp_path: Path) -> None:
    process = start_process(tmp_path, "pass")
    process._restart_delay = 16.0
    process.start(0.0)
    wait_until(lambda: process._process is not None and process._process.poll() is not None)
    process.check(61.0)
    process.check(62.1)
    assert process.pid is not None
    process.wait(5)


def test_a_process_that_does_not_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    program = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)\n"
        "time.sleep(60)"
    )
    process = start_process(tmp_path, program)
    process.start(0.0)
    wait_until(lambda: (tmp_path / "made.log").read_text().strip())
    grandchild = int((tmp_path / "made.log").read_text())
    process.stop()
    process.wait(0.3)
    wait_until(lambda: not alive(grandchild))


def test_a_process_stops_before_what_it_started(tmp_path: Path) -> None:
    child = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('interrupted', flush=True))\n"
        "print('working', flush=True)\n"
        "time.sleep(0.5)\n"
        "print('done', flush=True)"
    )
    program = (
        "import signal, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(child.wait()))\n"
        "time.sleep(60)"
    )
    process = start_process(tmp_path, program)
    process.start(0.0)
    wait_until(lambda: "working" in (tmp_path / "made.log").read_text())
    process.stop()
    wait_until(lambda: not process.is_running())
    process.wait(5)
    assert (tmp_path / "made.log").read_text().split() == ["working", "done"], "as a worker's child gives its job back"


def test_a_large_log_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "made.log").write_bytes(bytes(10_000_001))
    process = start_process(tmp_path, "print('new', flush=True)")
    process.start(0.0)
    process.wait(5)
    assert (tmp_path / "made.log").read_text() == "new\n"
    assert (tmp_path / "made.old.log").stat().st_size == 10_000_001


def test_a_log_is_set_aside_while_its_process_writes_it(tmp_path: Path) -> None:
    program = "import time\nfor at in range(300):\n    print(at, flush=True)\n    time.sleep(0.01)"
    process = start_process(tmp_path, program)
    process.start(0.0)
    wait_until(lambda: (tmp_path / "made.log").read_text())
    with (tmp_path / "made.log").open("ab") as log:
        log.write(bytes(10_000_001))
    process.check(1.0)
    aside = (tmp_path / "made.old.log").read_bytes()
    assert len(aside) > 10_000_000
    wait_until(lambda: not process.is_running())
    left = (tmp_path / "made.log").read_text().split()
    assert left[-1] == "299", "it goes on at the beginning of the emptied file"
    assert (tmp_path / "made.log").stat().st_size < 2000
    process.wait(1)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("print('no such broker', flush=True); raise SystemExit(4)", "no such broker"),
        ("import time; time.sleep(60)", "empty"),
    ],
    ids=["ends", "never answers"],
)
def test_what_does_not_start_ends_everything_and_is_told(
    tmp_path: Path, program: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STARTUP_TIMEOUT", 2.5)
    url = f"http://127.0.0.1:{free_port()}/"
    services = [
        Service("fine", [sys.executable, "-c", "print('worked', flush=True)"]),
        Service("broken", [sys.executable, "-c", program], url),
    ]
    whole = Supervisor(services, tmp_path, lambda _: None)
    with pytest.raises(OperatorError) as caught:
        whole.run(lambda: pytest.fail("it is not ready"))
    assert caught.value.code == "not_started"
    assert "broken" in caught.value.message
    assert "fine" not in caught.value.message
    assert told in caught.value.message
    assert not any(each.is_running() for each in whole.processes)
    assert not (tmp_path / "fine.log").exists(), "what has no address starts after those that answer"


def test_health_of_an_address() -> None:
    assert is_healthy("")
    assert not is_healthy(f"http://127.0.0.1:{free_port()}/")


def test_a_port_in_use_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "app", "serve", "--no-pull", "--api-port", port, "--port", str(free_port())]
        environment = {**os.environ, "PORTRAIT_HOME": str(tmp_path)}
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 4
    assert port in result.stderr
    assert not (tmp_path / "logs").exists()


class ServeProcess:
    """`portrait serve` in a process of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.port, self.api_port = home, free_port(), free_port()
        self.api = f"http://127.0.0.1:{self.api_port}/v1"
        command = ["serve", "--no-pull", "--port", str(self.port), "--api-port", str(self.api_port)]
        models = os.environ.get("PORTRAIT_HOME", str(Path.home() / ".portrait"))
        self.output: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", *command],
            cwd=ROOT,
            env={**os.environ, "PORTRAIT_HOME": str(home), "PORTRAIT_MODELS__FOLDER": f"{models}/models"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        wait_until(lambda: "Ctrl-C" in self.text, within=90, what="it did not start")

    @property
    def text(self) -> str:
        return "".join(self.output)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)

    def children(self) -> dict[str, int]:
        """Pids of the direct children by the names that the system tells of them."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                name = (folder / "comm").read_text().strip()
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if parent == self.process.pid:
                found[name.removeprefix("portrait-")] = int(folder.name)
        return found

    def code(self) -> str:
        return re.findall(r"sign-in\?code=(\S+)", self.text)[0]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(40)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[ServeProcess]:
    serving = ServeProcess(tmp_path)
    yield serving
    if serving.process.poll() is None:
        serving.stop()


@pytest.mark.services
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_processes_are_restarted(serving: ServeProcess) -> None:
    key = httpx.post(f"{serving.api}/sign-in", json={"code": serving.code()}).json()["secret"]
    with httpx.Client(base_url=serving.api, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        assert client.get("/me").json()["role"] == "admin"
        assert httpx.post(f"{serving.api}/sign-in", json={"code": serving.code()}).status_code == 401
        wait_until(lambda: client.get("/ready").json()["checks"]["workers"] == "ok", within=60)
        before = serving.children()
        assert set(before) == {"api", "worker", "calls", "keeper", "app"}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(serving.children()) == 5 and is_healthy(f"{serving.api}/health"), within=60)
        assert set(serving.children().values()).isdisjoint(before.values())
        assert client.get("/me").json()["owner"] == "me", "the key still opens"
    running = serving.children()
    assert serving.stop() == 0
    assert "Stopped." in serving.text
    assert not any(alive(pid) for pid in running.values())
    logs = {log.stem: log.read_text().splitlines() for log in (serving.home / "logs").glob("*.log")}
    assert set(logs) == {"api", "app", "calls", "keeper", "worker"}
    assert logs["app"]
    for part, lines in logs.items():
        assert all(part and json.loads(line)["level"] for line in lines), "every line is JSON"


@pytest.mark.services
@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends children with their parent")
def test_a_killed_supervisor_leaves_no_process(serving: ServeProcess) -> None:
    running = serving.children()
    serving.process.kill()
    serving.process.wait()
    wait_until(lambda: not any(alive(pid) for pid in running.values()), within=40)


def alive(pid: int) -> bool:
    try:
        return "Z" not in (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def test_a_signal_to_the_supervisor_stops_its_processes(tmp_path: Path) -> None:
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('stopped', flush=True), sys.exit(0)))\n"
        "print('here', flush=True)\n"
        "time.sleep(60)"
    )
    script = (
        "import json, sys\nfrom pathlib import Path\nfrom app.server.supervisor import Service, Supervisor\n"
        "services = [Service(name, [sys.executable, '-c', sys.argv[2]]) for name in ('a', 'b')]\n"
        "Supervisor(services, Path(sys.argv[1]), lambda text: None).run(lambda: print(json.dumps('ready'), flush=True))"
    )
    supervisor = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    assert json.loads(supervisor.stdout.readline()) == "ready"
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    wait_until(lambda: all(log.exists() and "here" in log.read_text() for log in logs))
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(20) == 0
    assert all(log.read_text().split() == ["here", "stopped"] for log in logs)
