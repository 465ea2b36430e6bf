"""Tries again what failed because database or storage do not answer: errors that are no fault of a job."""

import time
from collections.abc import Callable
from typing import TypeVar

from portrait.errors import OperatorError
from tasks.storage.storage import UNREACHABLE

CODES = frozenset({"database_unreachable", UNREACHABLE})
"""Codes of these errors."""
SECONDS = 60.0
"""For so long what a job has finished is tried to be written, while its lease is renewed."""
LONGEST_PAUSE = 2.0
"""Seconds between two tries at most; they begin with a tenth of a second and double."""
_Result = TypeVar("_Result")


def retry(act: Callable[[], _Result], seconds: float = SECONDS) -> _Result:
    """Return what `act` returns, which is called again while it raises one of these errors, for so many seconds."""
    until, pause = time.monotonic() + seconds, 0.1
    while True:
        try:
            return act()
        except OperatorError as error:
            if error.code not in CODES or time.monotonic() > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
