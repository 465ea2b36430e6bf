"""API, workers, keeper and app as children of one process, for one machine.

A child that dies comes back, later each time; one that no longer answers is ended and comes back too. Told to stop, the
children are told to stop: running jobs go back to the queue.
"""

import ctypes
import os
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

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a dead child comes back: doubled each time, up to the longest."""
LIVED = 60.0
"""A child that lived for so many seconds died of something new: the pause begins anew."""
LOOK_EVERY = 10.0
"""Seconds between two looks whether a child still answers."""
DEAF = 3
"""Looks without an answer after which a child is ended."""
STARTING = 60.0
"""Seconds a child may take until it answers for the first time."""
PATIENCE = 25.0
"""Seconds a child has to stop: a job ends its step, which takes a few."""
KEPT_LOG = 10_000_000
"""Bytes from which a log is set aside when its child starts anew."""
_TERMINATE_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Part:
    """One child: what it is called and how it is started."""

    name: str
    command: Sequence[str]
    health: str = ""
    """An address that answers 200 while the child is well; empty where there is none."""
    environment: Mapping[str, str] = field(default_factory=dict)


class Child:
    """A part that runs, or shall run again."""

    def __init__(self, part: Part, logs: Path, tell: Tell) -> None:
        self.part = part
        self._log, self._tell = logs / f"{part.name}.log", tell
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._looked = self._again = 0.0
        self._pause, self._deaf = FIRST_PAUSE, 0

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._process is None else self._process.pid

    def start(self, now: float) -> None:
        """Start it, its output into a log."""
        with self._opened() as log:
            self._process = subprocess.Popen(  # noqa: S603 -- the commands are our own
                list(self.part.command),
                env={**os.environ, **self.part.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this process alone, which tells the children in order
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        self._began = self._looked = now
        self._deaf = 0

    def tend(self, now: float) -> None:
        """See whether it lives and answers; start it again when its pause is over."""
        if self._process is None:
            if now >= self._again:
                self.start(now)
            return
        code = self._process.poll()
        if code is not None:
            self._died(now, code)
        elif self.part.health and now - self._looked > LOOK_EVERY and now - self._began > STARTING:
            self._looked = now
            self._deaf = 0 if answers(self.part.health) else self._deaf + 1
            if self._deaf >= DEAF:
                self._tell(f"{self.part.name} does not answer and is started anew.")
                self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Tell it to stop."""
        self._signal(signal.SIGTERM)

    def end(self, within: float) -> None:
        """Wait until it has stopped, and end it when that takes too long."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.1, within))
        except subprocess.TimeoutExpired:
            self._tell(f"{self.part.name} did not stop in time and was ended.")
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _died(self, now: float, code: int) -> None:
        self._process = None
        if now - self._began > LIVED:
            self._pause = FIRST_PAUSE
        self._again = now + self._pause
        self._tell(f"{self.part.name} ended ({code}) and comes back in {self._pause:.0f} s. Its log is {self._log}.")
        self._pause = min(LONGEST_PAUSE, self._pause * 2)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _opened(self) -> IO[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > KEPT_LOG:
            self._log.replace(self._log.with_suffix(".old.log"))
        return self._log.open("ab")


class House:
    """All the children."""

    def __init__(self, parts: Sequence[Part], logs: Path, tell: Tell) -> None:
        self.children = [Child(part, logs, tell) for part in parts]
        self._stopping = 0

    def run(self, ready: Callable[[], None]) -> None:
        """Start the children, say when all of them answer, and keep them until told to stop (SIGINT, SIGTERM)."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._told)
        try:
            for child in self.children:
                child.start(time.monotonic())
            waiting, until = True, time.monotonic() + STARTING
            while not self._stopping:
                now = time.monotonic()
                for child in self.children:
                    child.tend(now)
                if waiting and (now > until or all(answers(each.part.health) for each in self.children)):
                    waiting = False
                    ready()
                time.sleep(0.2)
        finally:
            self._stop()

    def _told(self, *_: object) -> None:
        self._stopping += 1

    def _stop(self) -> None:
        """Tell all to stop, then wait; told a second time, wait no longer."""
        for child in self.children:
            child.stop()
        until = time.monotonic() + PATIENCE
        for child in self.children:
            while child.pid and time.monotonic() < until and self._stopping < 2:
                with suppress(ChildProcessError):
                    if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                        break
                time.sleep(0.05)
            child.end(0.1)


def answers(address: str) -> bool:
    """Whether an address answers 200; an empty one has nothing to say and counts as well."""
    if not address:
        return True
    try:
        return httpx.get(address, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _end_with_parent() -> None:
    """Linux ends this child when its parent is gone, however that ended."""
    ctypes.CDLL(None).prctl(_TERMINATE_WITH_PARENT, signal.SIGTERM)
