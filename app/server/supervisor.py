"""Runs API, workers, keeper and app as child processes of one process, for one machine.

A process that dies is restarted, after a longer delay each time; one that fails its health checks is killed and
restarted. On SIGINT or SIGTERM all processes get SIGTERM: running jobs go back to the queue.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx

from app.server.processes.forks import Fork, can_fork, end_with_parent, fork
from portrait.errors import OperatorError

FIRST_RESTART_DELAY, MAX_RESTART_DELAY = 1.0, 30.0
"""Seconds before a process that died is restarted: doubled each time, up to the longest."""
STABLE_AFTER = 60.0
"""A process that ran for so many seconds died of something new: its delay begins at the first again."""
HEALTH_CHECK_INTERVAL = 10.0
"""Seconds between two health checks of a process."""
MAX_FAILED_CHECKS = 3
"""Failed health checks in a row after which a process is killed."""
STARTUP_TIMEOUT = 60.0
"""Seconds a process may take to start before its health is checked."""
STOP_TIMEOUT = 25.0
"""Seconds the processes have to stop: a job finishes its step, which takes a few."""
MAX_LOG_SIZE = 10_000_000
"""Bytes from which a log is set aside, also while its process writes it."""
LAST_LINES = 5
"""Lines of a log that are told of a process that did not start."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Service:
    """What a process runs: its name, its command line, and how its health is checked."""

    name: str
    command: Sequence[str]
    health_url: str = ""
    """An address that responds with 200 while the process is well; empty where there is none."""
    environment: Mapping[str, str] = field(default_factory=dict)
    forked: bool = False
    """Whether a command `python -m …` is a fork of this process where that can be, and so shares what both have imported."""


class Process:
    """A service's child process, which is restarted when it dies."""

    def __init__(self, service: Service, logs: Path, report: Report) -> None:
        self.service = service
        self._log, self._report = logs / f"{service.name}.log", report
        self._process: subprocess.Popen[bytes] | Fork | None = None
        self._started_at = self._checked_at = self._restart_at = 0.0
        self._restart_delay, self._failed_checks = FIRST_RESTART_DELAY, 0

    @property
    def pid(self) -> int | None:
        """The process's id while it runs, else None."""
        return None if self._process is None else self._process.pid

    def is_ready(self) -> bool:
        """Whether it runs, and responds where it has an address for that."""
        return self.is_running() and is_healthy(self.service.health_url)

    def last_lines(self) -> list[str]:
        """The last lines of its log."""
        with suppress(OSError), self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 4000))
            return log.read().decode(errors="replace").splitlines()[-LAST_LINES:]
        return []

    def start(self, now: float) -> None:
        """Start it, with its output appended to its log; `now` is monotonic time in seconds."""
        with self._open_log() as log:
            self._process = self._forked(log) if self.service.forked and can_fork() else self._opened(log)
        self._started_at = self._checked_at = now
        self._failed_checks = 0

    def _opened(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 -- the commands are our own
            list(self.service.command),
            env={**os.environ, **self.service.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops the processes in order
            preexec_fn=end_with_parent if sys.platform == "linux" else None,
        )

    def _forked(self, log: IO[bytes]) -> Fork:
        _, _, module, *words = self.service.command
        return fork(f"portrait-{self.service.name}", module, words, {**os.environ, **self.service.environment}, log)

    def check(self, now: float) -> None:
        """Restart it when it has died and its delay is over; kill it when it fails its health checks; bound its log."""
        self._rotate_log()
        if self._process is None:
            if now >= self._restart_at:
                self.start(now)
            return
        code = self._process.poll()
        if code is not None:
            self._schedule_restart(now, code)
        elif (
            self.service.health_url
            and now - self._checked_at > HEALTH_CHECK_INTERVAL
            and now - self._started_at > STARTUP_TIMEOUT
        ):
            self._checked_at = now
            self._failed_checks = 0 if is_healthy(self.service.health_url) else self._failed_checks + 1
            if self._failed_checks >= MAX_FAILED_CHECKS:
                self._report(f"{self.service.name} does not answer and is started anew.")
                self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Send SIGTERM to it alone: a child of a Celery worker would leave its job at once instead of giving it back."""
        if self._process is not None:
            self._process.terminate()

    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def wait(self, timeout: float) -> None:
        """Wait until it has stopped, and kill it with its own children after `timeout` seconds."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.1, timeout))
        except subprocess.TimeoutExpired:
            self._report(f"{self.service.name} did not stop in time and was ended.")
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._signal(signal.SIGTERM)  # what it started and left behind
        self._process = None

    def _schedule_restart(self, now: float, code: int) -> None:
        self._process = None
        if now - self._started_at > STABLE_AFTER:
            self._restart_delay = FIRST_RESTART_DELAY
        self._restart_at = now + self._restart_delay
        self._report(
            f"{self.service.name} ended ({code}) and comes back in {self._restart_delay:.0f} s. Its log is {self._log}."
        )
        self._restart_delay = min(MAX_RESTART_DELAY, self._restart_delay * 2)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _open_log(self) -> IO[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._rotate_log()
        return self._log.open("ab")

    def _rotate_log(self) -> None:
        """Set a large log aside. The process goes on writing into the same file, so that is copied and emptied."""
        with suppress(FileNotFoundError):
            if self._log.stat().st_size > MAX_LOG_SIZE:
                shutil.copyfile(self._log, self._log.with_suffix(".old.log"))
                os.truncate(self._log, 0)


class Supervisor:
    """Runs the processes of all services."""

    def __init__(self, services: Sequence[Service], logs: Path, report: Report) -> None:
        self.processes = [Process(service, logs, report) for service in services]
        self._signals = 0

    def run(self, ready: Callable[[], None]) -> None:
        """Start the processes, call `ready` once they answer, and supervise them until SIGINT or SIGTERM.

        Those without an address start after the others have answered: somebody waits for a page, and nobody for a worker yet.
        Raises `OperatorError` (`not_started`) when one does not answer in time; then all are stopped.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        started = [each for each in self.processes if each.service.health_url]
        try:
            for process in started:
                process.start(time.monotonic())
            waiting, until = True, time.monotonic() + STARTUP_TIMEOUT
            while not self._signals:
                now = time.monotonic()
                for process in started:
                    process.check(now)
                if waiting and all(each.is_ready() for each in started):
                    waiting, later = False, [each for each in self.processes if each not in started]
                    for process in later:
                        process.start(now)
                    started += later
                    ready()
                elif waiting and now > until:
                    raise _not_started([each for each in started if not each.is_ready()])
                time.sleep(0.2)
        finally:
            self._stop()

    def _on_signal(self, *_: object) -> None:
        self._signals += 1

    def _stop(self) -> None:
        """Stop all processes and wait for them; a second signal ends the waiting."""
        for process in self.processes:
            process.stop()
        until = time.monotonic() + STOP_TIMEOUT
        for process in self.processes:
            while process.is_running() and time.monotonic() < until and self._signals < 2:
                time.sleep(0.05)
            process.wait(0.1)


def _not_started(processes: Sequence[Process]) -> OperatorError:
    """The error that names what did not start, with the end of each log."""
    parts = [
        f"{each.service.name}:\n  " + "\n  ".join(each.last_lines() or ["(its log is empty)"]) for each in processes
    ]
    names = ", ".join(each.service.name for each in processes)
    return OperatorError(
        "not_started",
        f"Within {STARTUP_TIMEOUT:.0f} seconds this did not start, and everything was stopped: {names}. Its last lines:\n"
        + "\n".join(parts),
    )


def is_healthy(url: str) -> bool:
    """Whether an address responds with 200; True for an empty one."""
    if not url:
        return True
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
