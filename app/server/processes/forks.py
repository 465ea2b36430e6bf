"""Starts commands of this program as forks of a process that has imported what they share, which then lies in memory once.

Linux alone, and only while the process has one thread: in a fork no other thread goes on, and a lock that one held would never
be released. What the process imports before must start none: no engines, no OpenCV, no numpy with its pool of threads.
"""

import atexit
import ctypes
import gc
import importlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

SHARED = (
    "celery.app.task",
    "celery.apps.worker",
    "celery.concurrency.prefork",
    "celery.worker.consumer",
    "fastapi",
    "httpx",
    "kombu.transport.virtual",
    "tasks.files",
    "tasks.ledger.ledger",
    "tasks.logs",
    "tasks.queue.broker",
    "tasks.queue.filesystem",
    "tasks.queue.processes.pool",
    "tasks.webhooks",
    "uvicorn",
)
"""Modules that at least two of the commands import."""
_SIGNALS = {signal.SIGINT, signal.SIGTERM}
_TERMINATE_WITH_PARENT, _SET_NAME = 1, 15
"""Linux's PR_SET_PDEATHSIG and PR_SET_NAME."""
_POLL = 0.02
"""Seconds between two looks at a process that is waited for."""


def can_fork() -> bool:
    """Whether commands can be started as forks of this process."""
    return (
        sys.platform == "linux" and threading.active_count() == 1 and len(list(Path("/proc/self/task").iterdir())) == 1
    )


def import_shared() -> None:
    """Import what commands share; what is not installed is left out."""
    for name in SHARED:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection would write into every object of it, and so copy its page


class Fork:
    """A process that was forked, with what `subprocess.Popen` says of one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(_POLL)
        return code

    def terminate(self) -> None:
        """Send SIGTERM to it."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def fork(name: str, module: str, words: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> Fork:
    """Run a module as `python -m MODULE WORDS` does, in a session of its own, with its output appended to a log.

    Of its processes the system tells `name`, of which the first 15 letters count.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # None may reach the fork before it has handlers of its own.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    pid = os.fork()
    if not pid:
        _become(name, module, words, environment, log)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Fork(pid)


def end_with_parent() -> None:
    """Have Linux send SIGTERM to this process when its parent ends, however that happens."""
    ctypes.CDLL(None).prctl(_TERMINATE_WITH_PARENT, signal.SIGTERM)


def _become(name: str, module: str, words: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> NoReturn:
    """Be the process that was forked until it ends: nothing of the caller's goes on in it."""
    code = 1
    try:
        os.setsid()
        end_with_parent()
        ctypes.CDLL(None).prctl(_SET_NAME, name.encode()[:15])
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        for number in (1, 2):
            os.dup2(log.fileno(), number)
        log.close()
        os.environ.clear()
        os.environ.update(environment)
        for number in _SIGNALS:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        sys.argv = [sys.argv[0], *words]
        code = _run(module)
    finally:
        os._exit(code)


def _run(module: str) -> int:
    """Run a module as the program, and do at its end what an interpreter does; returns its exit code."""
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        threading._shutdown()  # pyrefly: ignore[missing-attribute] -- as `multiprocessing` ends its forks
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return code
