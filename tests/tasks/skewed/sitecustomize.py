"""Lets a process sleep whose clock libfaketime has changed: `clock_nanosleep`, which Python calls, ends at once there.

It lies in a folder of its own, which only such processes have in PYTHONPATH: Python imports it at its start.
"""

import select
import time

_wait = select.select


def _sleep(seconds: float) -> None:
    """Wait for so many seconds."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        _wait([], [], [], left)


time.sleep = _sleep  # pyrefly: ignore[bad-assignment] -- whole seconds are numbers too
