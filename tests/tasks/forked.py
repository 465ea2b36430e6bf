"""Processes that are forked from one that has imported their modules: importing takes longer than most of them live.

Each still is a process of its own, in a session of its own, with nothing of the others but what was imported.
"""

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
WORKER = (
    *("tasks.queue.worker", "tasks.queue.runner", "pipelines.guards.pictures", "celery.concurrency.prefork"),
    *("celery.fixups.django", "kombu.transport.filesystem", "kombu.transport.redis", "kombu.transport.pyamqp"),
    *(
        "celery.worker.consumer",
        "celery.worker.components",
        "celery.app.control",
        "celery.app.events",
        "celery.app.amqp",
    ),
    *("sqlalchemy.dialects.sqlite.pysqlite", "sqlalchemy.dialects.postgresql.psycopg"),
    *("tests.tasks.processes", "tests.tasks.fake_flows"),
)
"""What a worker has imported once it has done a job."""


class Forked(subprocess.Popen[bytes]):
    """A forked process, waited for and told to end as one that was started by a command."""

    def __init__(self, template: "Template", pid: int) -> None:
        self._template, self.pid, self.args = template, pid, ["forked", str(pid)]
        self.returncode: int | Any = None
        self.stdin = self.stdout = self.stderr = None

    def __del__(self, *_: object) -> None:
        """Nothing: its parent is the template, which waits for it."""

    def poll(self) -> int | None:
        """The exit code, negative where a signal ended it; None as long as it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code; raises `subprocess.TimeoutExpired`."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self.returncode = self._template.wait(self.pid, timeout)
        return self.returncode


class Template:
    """The process that others are forked from. It ends with this one, which holds its standard input open."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *modules],
            cwd=ROOT,
            # Threads of a library do not go on in a fork: there are none.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._forked: list[int] = []
        self._ends: dict[int, int] = {}
        self._told = threading.Condition()
        self._one = threading.Lock()
        threading.Thread(target=self._listen, name="forked", daemon=True).start()

    def fork(self, function: str, environment: Mapping[str, str], log: Path) -> Forked:
        """A process that runs a `module:function` with this environment; what it says is appended to the log."""
        assert self._process.stdin is not None
        order = {"function": function, "environment": dict(environment), "log": str(log)}
        with self._one, self._told:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            assert self._told.wait_for(lambda: self._forked or self._process.poll() is not None, 120), "it hangs"
            return Forked(self, self._forked.pop())

    def wait(self, pid: int, timeout: float | None) -> int | None:
        """The exit code of a process that was forked; None where it still runs after so many seconds."""
        with self._told:
            self._told.wait_for(lambda: pid in self._ends or self._process.poll() is not None, timeout)
            return self._ends.get(pid)

    def close(self) -> None:
        """End the template, not what was forked from it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _listen(self) -> None:
        """Note what the template tells: `forked PID` and `ended PID CODE`."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            what, pid, *code = line.split()
            with self._told:
                if what == b"forked":
                    self._forked.append(int(pid))
                else:
                    self._ends[int(pid)] = int(code[0])
                self._told.notify_all()


@cache
def template(*modules: str) -> Template:
    """The template that has imported these modules, started at the first use."""
    made = Template(modules)
    atexit.register(made.close)
    return made


def serve(modules: Sequence[str]) -> int:
    """Be a template: import, and fork at every order; returns only in what was forked, and at the end of the orders."""
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, _tell_ends)
    for line in sys.stdin.buffer:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return _become(**order)
        os.write(1, f"forked {pid}\n".encode())
    return 0


def _become(function: str, environment: Mapping[str, str], log: str) -> int:
    """Be the process that was ordered; returns its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for opened, standard in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(opened, standard)
    os.close(nothing)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)()


def _tell_ends(*_: object) -> None:
    """Say who has ended, and how."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        os.write(1, f"ended {pid} {os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
