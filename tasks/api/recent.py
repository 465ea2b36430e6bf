"""A value that is measured now and then, however many ask for it."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """What was measured within the last `seconds`. One caller measures; the others get what was measured before."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._measured: tuple[float, T] | None = None
        self._lock = threading.Lock()

    def get(self, measure: Callable[[], T]) -> T:
        """The value; waits for another caller's measurement only where there was none before."""
        before = self._measured
        if before is not None and time.monotonic() - before[0] < self.seconds:
            return before[1]
        if before is not None and self._lock.locked():
            return before[1]
        with self._lock:
            now = self._measured
            if now is None or now is before:
                now = self._measured = time.monotonic(), measure()
            return now[1]
