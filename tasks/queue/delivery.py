"""Delivers the portraits of a job one by one while it runs, and erases what lies in its folder and belongs to none of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.deliver import Deliver
from pipelines.folders import atomic
from portrait.types import Portrait
from tasks.files import Files, disk_error
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.rows import PortraitRow
from tasks.queue import results

SWEPT_SECONDS = 7 * 86_400.0
"""Folders of jobs that were written within so many seconds are looked through for files that belong to no portrait."""


@dataclass(frozen=True, slots=True)
class PortraitDelivery:
    """The portraits of one run of a job, each delivered as soon as it is finished."""

    job: Job
    ledger: Ledger
    files: Files
    staged: Path
    """A folder of this run in which files are written before they are moved to their places."""
    now: Callable[[], float]
    write: Deliver
    began: float
    """One time for all portraits of the run, or the later ones would sort as newer."""
    _rows: dict[Portrait, PortraitRow] = field(default_factory=dict)

    def __call__(self, portrait: Portrait) -> PortraitRow:
        """Write a portrait's file and row, which appear together or not at all; one that was delivered before stays.

        Raises `Cancelled`, `LeaseLost`, `UserError` where consent does not hold any more, `OperatorError` (`disk_full` …).
        """
        if portrait not in self._rows:
            number = len(self._rows) + 1
            id = new_id("portrait", self.began, number)  # the best portrait of a job sorts as its newest
            file = self.write(portrait, self.staged / f"{number:02}", str(self.job.params.get("mark", id)))
            row = results.portrait_row(self.job, (number, id), portrait, file, self.began)
            self._rows[portrait] = self.ledger.queue.deliver(
                self.job, self.now(), row, lambda placed: self._publish(file, placed)
            )
        return self._rows[portrait]

    def _publish(self, file: Path, row: PortraitRow) -> None:
        """Move a staged file to the place of its row, over what a run that died may have left there."""
        place = self.files.portrait(row.owner, row.job, row.file)
        try:
            if not place.parent.is_dir():
                place.parent.mkdir(parents=True, exist_ok=True)
                atomic.sync_folder(place.parent.parent)
            file.replace(place)
            atomic.sync_folder(place.parent)
        except OSError as error:
            raise disk_error(error) from error


def edited_file(job: Job, ledger: Ledger, files: Files) -> Path:
    """The file of the portrait that a job edits; raises `UserError` (`not_found`) when that was deleted."""
    row = ledger.portraits.get(job.owner, str(job.params["edit"]["portrait"]))
    return files.portrait(job.owner, row.job, row.file)


def sweep(ledger: Ledger, files: Files, owner: str, job: str) -> int:
    """Erase what lies in a job's folder and belongs to no portrait: of a run that died, or replaced by better ones.

    Nothing while a worker has the job. Returns how many files; raises `OSError`.
    """
    folder = files.portraits(owner, job)
    # Listed first: a file that is delivered after this is not among them, one that was before it has its row.
    found = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    kept = ledger.queue.portrait_files(job) if found else None
    if kept is None:
        return 0
    left = [path for path in found if path.name not in kept]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def sweep_all(ledger: Ledger, files: Files, now: float) -> int:
    """Sweep the folders of all jobs that were written of late; returns how many files were erased. Raises `OSError`."""
    erased = 0
    for kind, id, path in files.owned():
        if kind == "jobs" and _changed(path) > now - SWEPT_SECONDS:
            erased += sweep(ledger, files, path.parents[1].name, id)
    return erased


def _changed(path: Path) -> float:
    """When a folder was last written, seconds since 1970; 0 for one that is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
