"""Places for work that is limited by number: so many at once for one caller, and so many for all."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from portrait.errors import UserError

RETRY_AFTER = 2
"""Seconds after which to ask for a place again."""


class Slots:
    """Places of one kind of work; `work` is what a refusal calls it: "uploads"."""

    def __init__(self, work: str, each: int, total: int) -> None:
        self.work, self.each, self.total = work, each, total
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def take(self, caller: str) -> Iterator[None]:
        """Hold a place; raises `UserError`: `too_many_at_once` of one caller, `busy` of all."""
        with self._lock:
            self._check(caller)
            self._taken[caller] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[caller] -= 1
                if not self._taken[caller]:
                    del self._taken[caller]

    def _check(self, caller: str) -> None:
        if self._taken[caller] >= self.each:
            sentence = f"There can be {self.each} {self.work} at once. Wait until one has ended."
            raise UserError("too_many_at_once", sentence, {"retry_after": RETRY_AFTER})
        if self._taken.total() >= self.total:
            raise UserError("busy", "There is too much to do at present. Try again.", {"retry_after": RETRY_AFTER})
