"""Celery's pool of processes with locks that the system releases when the process dies that holds them.

An idle process waits for its next message while it holds the lock of the pool's pipe. Killed there, by the kernel where memory
is short, it would take billiard's lock with it: nobody of the worker would hear a message again, and the worker never end.
Brokers with an event loop (Redis, RabbitMQ) use pipes of each process's own, without locks.
"""

import fcntl
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from billiard.pool import Pool
from celery.concurrency import prefork


class ProcessLock:
    """A lock between processes: a POSIX lock of a file, which belongs to a process and ends with it."""

    def __init__(self) -> None:
        self._file: Any = tempfile.NamedTemporaryFile(prefix="portrait-lock-")  # noqa: SIM115 -- it lasts as long as the pool

    def acquire(self, *_: object) -> bool:
        """Wait until no other process holds the lock."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let the next process have it."""
        fcntl.lockf(self._file, fcntl.LOCK_UN)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __getstate__(self) -> str:
        return self._file.name

    def __setstate__(self, name: str) -> None:
        self._file = Path(name).open("rb+")  # noqa: SIM115 -- of a process that was spawned, until it ends


class _LockedPool(Pool):
    """Processes that read from one pipe in turn."""

    def _setup_queues(self) -> None:
        super()._setup_queues()
        for queue in (self._inqueue, self._outqueue):
            queue._rlock, queue._wlock = ProcessLock(), ProcessLock()


class TaskPool(prefork.TaskPool):
    """Celery's pool of processes, where it has no event loop with our locks."""

    BlockingPool = _LockedPool
