"""Says of worker and keeper that they live, by a file that each process touches and without the database.

A container's health check that asked the database would restart every worker whenever the database is away.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from tasks.settings import home

FRESH_SECONDS = 90.0
"""A process that has not touched its file for so long hangs: by then the lease of its job is over too."""


def beat(part: str) -> None:
    """Touch this process's file; a disk that cannot be written leaves it old, which is what it is there to say."""
    file = _folder() / _name(part, os.getpid())
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def forget(part: str) -> None:
    """Remove this process's file, because it ends."""
    with suppress(OSError):
        (_folder() / _name(part, os.getpid())).unlink(missing_ok=True)


def keep_beating(part: str, every: float, stop: threading.Event) -> None:
    """Touch this process's file every so many seconds in a thread, until `stop` is set."""

    def run() -> None:
        beat(part)
        while not stop.wait(every):
            beat(part)
        forget(part)

    threading.Thread(target=run, name="liveness", daemon=True).start()


def is_alive(part: str, within: float = FRESH_SECONDS) -> bool:
    """Whether processes of a part run on this machine, and none of them hangs; forgets those that were killed."""
    last = [beaten for file in _folder().glob(_name(part, "*")) if (beaten := _last_beat(file)) is not None]
    now = time.time()
    return bool(last) and all(now - beaten <= within for beaten in last)


def _last_beat(file: Path) -> float | None:
    """When the process of a file touched it last, in seconds since 1970; None of a process that has ended."""
    if not is_running(int(file.name.rpartition("-")[2])):
        file.unlink(missing_ok=True)
        return None
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # It has ended and forgotten itself since the folder was read.
        return None


def is_running(pid: int) -> bool:
    """Whether a process of this machine runs, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _folder() -> Path:
    return home() / "run"


def _name(part: str, pid: int | str) -> str:
    # Machines and containers may share the folder.
    return f"{part}-{socket.gethostname()}-{pid}"
