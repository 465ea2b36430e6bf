"""Cleans the data folder of one machine: copies of what another machine erased, and what killed processes left behind."""

import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from portrait.errors import OperatorError, UserError
from tasks.files import Files
from tasks.jobs import DAY, LEASED
from tasks.ledger.ledger import Ledger

OVERLAP = 900.0
"""Seconds for which erasures are looked at again: a worker may have written until its lease ended, and clocks differ."""
NOTED = ".erasures"
"""The file whose modification time says until when this machine has heard of erasures."""
_log = logging.getLogger("portrait.storage")


@dataclass(slots=True)
class MachineCopies:
    """The copies in one machine's data folder, where an object storage keeps the files; any process of it may call it.

    Nothing is served from a copy whose row is gone. This is so that nothing of the erased lies on any disk a few minutes later.
    """

    ledger: Ledger
    files: Files
    _swept: float = 0.0
    _left: set[str] = field(default_factory=set)
    """Owners whose copies were in use at the last call."""

    def __call__(self) -> None:
        """Clean up, every few seconds; what cannot be done now is done by a later call."""
        if self.files.bucket is None:
            return
        try:
            now = self.ledger.now()
            erased = self.forget_erased(now)
            if erased or now - self._swept > DAY:
                self._swept = now
                self.sweep(now)
        except (OperatorError, OSError) as error:
            _log.warning("copies of stored files were not cleaned up: %s", getattr(error, "code", type(error).__name__))

    def forget_erased(self, now: float) -> bool:
        """Remove the copies of owners of whom something was erased; what is still theirs is fetched again. False for none."""
        noted = self.files.root / NOTED
        since = noted.stat().st_mtime - OVERLAP if noted.exists() else 0.0
        owners = self.ledger.erasures.owners_since(since) | self._left
        self._left = {owner for owner in owners if self.files.forget_copies(owner)}
        if not self._left:
            noted.parent.mkdir(parents=True, exist_ok=True)
            noted.touch()
            os.utime(noted, (now, now))
        return bool(owners)

    def sweep(self, now: float) -> int:
        """Remove what killed processes of this machine left: staged folders, checkpoints, half-written files; how many."""
        queue = self.ledger.queue
        staged = [folder for job, token, folder in self.files.staging_folders() if not queue.is_leased(job, token)]
        left = [path for path in self.files.unfinished() if _age(path, now) > DAY]
        left += [path for path in (*staged, *self.files.style_work_dirs()) if _age(path, now) > DAY]
        left += [
            path for path in (self.files.root / "owners").glob("*/people/*/desks/*") if not self._is_worked_on(path)
        ]
        for path in left:
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return len(left)

    def _is_worked_on(self, work_dir: Path) -> bool:
        try:
            return self.ledger.jobs.get(work_dir.parts[-5], work_dir.name).state in LEASED
        except UserError:
            return False


def _age(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0
