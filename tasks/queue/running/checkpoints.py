"""Keeps the checkpoints of a training while it runs, so that it goes on on another machine where this one is lost."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from portrait.arrays import Image
from portrait.errors import OperatorError
from portrait.ports import Progress
from tasks.files import Files

KEEP_SECONDS = 30.0
"""Seconds between two looks whether there are new checkpoints: they are some hundred megabytes."""
_log = logging.getLogger("portrait.runner")


@dataclass(slots=True)
class CheckpointKeeper:
    """A `Progress` that passes on what it is told, and keeps what the trainer has written since the last look.

    It is called between two steps, when no checkpoint is half written. Where the storage does not answer the training goes on.
    """

    files: Files
    work_dir: Path
    progress: Progress
    _looked: float = 0.0
    _kept: float = 0.0
    """The newest modification among what was kept, seconds since 1970."""

    def __call__(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        """Report, and keep new checkpoints; raises what the `progress` raises."""
        self.progress(done, total, doing, preview)
        if time.monotonic() - self._looked > KEEP_SECONDS:
            self.keep()
            self._looked = time.monotonic()

    def keep(self) -> None:
        """Keep what is new in the work folder."""
        newest = max((path.stat().st_mtime for path in self.work_dir.rglob("[!.]*") if path.is_file()), default=0.0)
        if newest <= self._kept:
            return
        try:
            self.files.keep(self.work_dir)
        except OperatorError as error:
            _log.warning("checkpoints were not kept: %s", error.code)
        else:
            self._kept = newest
