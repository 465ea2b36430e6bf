"""Commands in documents, run as they are printed: with bash, curl and jq, against the program's own processes.

Only addresses are put in the place of those that are printed, in `portrait` and `curl` by two programs of the test on `PATH`;
and two processes in that of four, which would be the same twice.
A `curl` that the API refuses ends the block.
"""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import pytest

from tests.tasks import servers
from tests.tasks.conftest import create_database
from tests.tasks.printed_flows import photo
from tests.tasks.stand import ROOT, wait_until

pytestmark = pytest.mark.services
DOCS = ROOT / "docs"
SHIM = """#!/bin/sh
case "$1" in serve|api|app) set -- "$@" $PORTS ;; esac
exec "{python}" -c 'import sys; from app.cli import main; sys.argv[0] = "portrait"; main()' "$@"
"""
"""`portrait`, wherever this is run from; whatever listens does so at free ports."""
CURL = """#!/bin/sh
exec {curl} --fail-with-body --max-time 60 "$@"
"""
"""`curl` whose exit code says that the answer was an error, which nobody who types it needs."""


def blocks(page: str, language: str = "") -> list[str]:
    """The blocks of a document in a language, which is named behind the first of the two fences."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.M | re.S)
    return [block for named, block in fenced if named == language]


@dataclass
class Machine:
    """A fresh installation on this machine, and whoever types there."""

    home: Path
    port: int = field(default_factory=servers.free_port)
    more: dict[str, str] = field(default_factory=dict)
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        programs = self.home / "bin"
        programs.mkdir(parents=True)
        for name, text in (("portrait", SHIM), ("curl", CURL)):
            (programs / name).write_text(text.format(python=sys.executable, curl=shutil.which("curl")))
            (programs / name).chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PORTRAIT_")}
        path = f"{self.home / 'bin'}:{os.environ['PATH']}"
        own = {"PORTRAIT_HOME": str(self.home / "home"), "PYTHONPATH": str(ROOT), "PATH": path}
        return kept | own | {"PORTRAIT_TASKS__KEEPER": "0.3"} | self.more

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a part of the installation."""
        with (self.home / "log").open("ab") as log:
            started = subprocess.Popen(
                command, cwd=self.home, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(started)
        return started

    def type(self, *blocks: str, answers: str = "") -> str:
        """Type blocks into one shell, one after the other; returns what it prints. Fails where a command does.

        `answers` are typed where a command asks.
        """
        printed = re.sub(r"127\.0\.0\.1:8000", f"127.0.0.1:{self.port}", "\n".join(blocks))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", printed],
            cwd=self.home,
            env=self.environment,
            input=answers,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{self.log()}"
        return done.stdout

    def answers(self) -> bool:
        """Whether the API answers."""
        return _answers(f"http://127.0.0.1:{self.port}/v1/health")

    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False).is_success
    except httpx.TransportError:
        return False


@contextmanager
def new_machine(home: Path) -> Iterator[Machine]:
    """A machine with nothing on it yet, whose processes end with it."""
    for program in ("bash", "curl", "jq"):
        servers.need(program, shutil.which(program) is not None, f"apt-get install {program}")
    machine = Machine(home)
    try:
        yield machine
    finally:
        machine.stop()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine with nothing on it yet."""
    with new_machine(tmp_path) as machine:
        yield machine


@pytest.fixture
def served(migrated: str, machine: Machine, numbers: Iterator[int], started: Callable[[str], str]) -> dict[str, str]:
    """A database and a broker, by what is printed in their place."""
    database = create_database(migrated, f"t{secrets.token_hex(6)}", "migrated")
    return {
        "postgresql://portrait:…@db/portrait": database,
        "redis://broker/0": f"{started('redis')}/{next(numbers) % 16}",
        "/srv/portrait": str(machine.home / "srv"),
        "http://api:8000": f"http://127.0.0.1:{machine.port}",
        "0.0.0.0": "127.0.0.1",  # noqa: S104 -- replaced, not bound
    }


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One that serves, with flows that need neither models nor a GPU."""
    with new_machine(tmp_path_factory.mktemp("serving")) as machine:
        machine.more = {"FLOWS": "tests.tasks.printed_flows:open_flows", "PORTRAIT_TASKS__CPU_FOR_GPU_QUEUES": "true"}
        machine.start("portrait", "api", "--port", str(machine.port))
        wait_until(machine.answers, what=machine.log())
        for queues in ("cpu", "gpu.train,gpu.generate"):
            machine.start("env", f"QUEUES={queues}", sys.executable, "-m", "tests.tasks.processes", "worker")
        for number, name in enumerate(("one", "two", "coat"), 1):
            (machine.home / f"{name}.jpg").write_bytes(photo(number))
        yield machine


def documents(printed: str) -> list[dict[str, Any]]:
    """The JSON documents in what a shell printed."""
    found, decoder, at = [], json.JSONDecoder(), 0
    while (at := printed.find("{", at)) >= 0:
        try:
            document, at = decoder.raw_decode(printed, at)
        except ValueError:
            at += 1
        else:
            found += [document] if isinstance(document, dict) else []
    return found


def test_serving_with_curl_alone(serving: Machine) -> None:
    first, text, edits, instruct = (each for each in blocks("serving.md") if "curl" in each)
    printed = serving.type(first, text, edits, instruct)
    told = documents(printed)
    assert [each["paragraphs"] for each in told if "paragraphs" in each], "the text of consent"
    uploads = [each for each in told if "added" in each]
    assert [len(each["added"]) for each in uploads] == [2]
    assert printed.count('"state":"succeeded"') >= 4, "streams end when their jobs have"
    judged = next(each for each in told if "items" in each and "verdict" in str(each))
    assert [each["verdict"] for each in judged["items"]] == ["use", "use"]
    assert len(ZipFile(serving.home / "portraits.zip").namelist()) == 4
    assert "base:sdxl:instantid true" in printed
    assert '["text-garden"' in printed
    asked = [each["wants"] for each in told if isinstance(each.get("wants"), dict) and each["wants"].get("edit")]
    kinds = [each["edit"]["kind"] for each in asked]
    assert kinds == ["variations", "change", "extend", "repaint", "instruct"]
    assert asked[-1]["technique"]["base"] == "flux2_klein"


def test_a_webhook_for_mail(serving: Machine) -> None:
    [printed] = blocks("mail.md", "bash")
    [told] = documents(serving.type("key=$(portrait keys add me --json | jq -r .secret)", printed))
    assert str(told["secret"]).startswith("whsec_")
    assert told["events"] == ["job.succeeded", "job.failed"]


def test_one_command_serves_everything(machine: Machine) -> None:
    [printed] = [each for each in blocks("serving.md") if each == "portrait serve\n"]
    app = servers.free_port()
    machine.more = {"PORTS": f"--no-pull --port {app} --api-port {machine.port}"}
    machine.start("bash", "-c", printed)
    wait_until(lambda: "Portrait is running" in machine.log(), what=machine.log())
    assert machine.answers()
    page = httpx.get(re.findall(r"http://\S+/sign-in\?code=\S+", machine.log())[0], trust_env=False)
    assert page.status_code == 200


def test_parts_on_many_machines(machine: Machine, served: dict[str, str]) -> None:
    [printed] = [each for each in blocks("serving.md") if "portrait keeper" in each]
    for told, there in {**served, "--processes 4": "--processes 2"}.items():
        assert told in printed
        printed = printed.replace(told, there)
    machine.more = {"PORTRAIT_TASKS__CPU_FOR_GPU_QUEUES": "true"}
    exports = "".join(f"{line}\n" for line in printed.splitlines() if line.startswith("export "))
    parts = [line for line in printed.splitlines() if line.startswith("portrait ")]
    assert [line.split()[1] for line in parts] == ["api", "app", "worker", "worker", "worker", "keeper"]
    page = servers.free_port()
    ports = {"api": machine.port, "app": page}
    for line in parts:
        port = ports.get(line.split()[1])
        machine.start("bash", "-c", f"export PORTS='{f'--port {port}' if port else ''}'\n{exports}{line}\n")
        if port == machine.port:
            wait_until(machine.answers, what=machine.log())
    key = machine.type(exports, "portrait keys add me --role operator").split()[0]
    operator = httpx.Client(
        base_url=f"http://127.0.0.1:{machine.port}/v1", headers={"Authorization": f"Bearer {key}"}, trust_env=False
    )

    def queues() -> list[str]:
        return [queue for each in operator.get("/operator/workers").json()["items"] for queue in each["queues"]]

    wait_until(lambda: {"cpu", "gpu.train", "gpu.generate", "io"} <= set(queues()), what=machine.log())
    wait_until(lambda: _answers(f"http://127.0.0.1:{page}/_stcore/health"), what=machine.log())
    assert operator.get("/ready").json()["status"] == "ok"
    assert [each.poll() for each in machine.processes] == [None] * len(parts), "all of them go on"


def test_accounts(machine: Machine) -> None:
    [printed] = [each for each in blocks("accounts.md") if "portrait owners" in each]
    told = machine.type("portrait keys add ann", printed, answers="y\n")
    assert "ann" in told
    assert "removed" in told


def test_no_block_is_left_out() -> None:
    """Whoever adds a block of commands runs it here."""
    assert len(blocks("serving.md")) == len([each for each in blocks("serving.md") if "curl" in each]) + 2
    assert len(blocks("accounts.md")) == len(blocks("mail.md", "bash")) == 1
