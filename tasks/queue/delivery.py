"""Delivers the portraits of a job one by one while it runs, and erases what lies in its folder and belongs to none of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.files import Files
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.rows import PortraitRow
from tasks.queue import results
from tasks.storage import transient
from tasks.telemetry import tracing

if TYPE_CHECKING:
    from pipelines.deliver import Deliver
    from portrait.types import Portrait

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
    write: "Deliver"
    began: float
    """One time for all portraits of the run, or the later ones would sort as newer."""
    _rows: "dict[Portrait, PortraitRow]" = field(default_factory=dict)

    def __call__(self, portrait: "Portrait") -> PortraitRow:
        """Write a portrait's file and row, which appear together or not at all; one that was delivered before stays.

        Raises `Cancelled`, `LeaseLost`, `UserError` where consent does not hold any more, `OperatorError` (`disk_full` …).
        """
        if portrait not in self._rows:
            with tracing.span("deliver", attributes={"number": len(self._rows) + 1}):
                self._rows[portrait] = self._deliver(portrait, len(self._rows) + 1)
        return self._rows[portrait]

    def _deliver(self, portrait: "Portrait", number: int) -> PortraitRow:
        id = new_id("portrait", self.began, number)  # the best portrait of a job sorts as its newest
        file = self.write(portrait, self.staged / f"{number:02}", str(self.job.params.get("mark", id)))
        row = results.portrait_row(self.job, (number, id), portrait, file, self.began)
        headers = {
            "Content-Type": f"image/{'jpeg' if row.format == 'jpg' else row.format}",
            "Content-Disposition": f'attachment; filename="portrait-{row.id[-6:]}-{row.number}.{row.format}"',
        }

        def publish(placed: PortraitRow) -> None:
            self.files.publish_file(file, self.files.portrait(placed.owner, placed.job, placed.file), headers)

        # What is finished is not thrown away because somebody does not answer for some seconds.
        return transient.retry(lambda: self.ledger.queue.deliver(self.job, self.now(), row, publish))


def edited_file(job: Job, ledger: Ledger, files: Files) -> Path:
    """The file of the portrait that a job edits; raises `UserError` (`not_found`) when that was deleted."""
    row = ledger.portraits.get(job.owner, str(job.params["edit"]["portrait"]))
    return files.fetch(files.portrait(job.owner, row.job, row.file))


def sweep(ledger: Ledger, files: Files, owner: str, job: str) -> int:
    """Erase what lies in a job's folder and belongs to no portrait: of a run that died, or replaced by better ones.

    Nothing while a worker has the job. Returns how many files; raises `OSError`.
    """
    # Listed first: a file that is delivered after this is not among them, one that was before it has its row.
    return _sweep(ledger, files, files.portraits(owner, job), files.names(files.portraits(owner, job)))


def sweep_all(ledger: Ledger, files: Files, now: float) -> int:
    """Sweep the folders of all jobs that were written of late; returns how many files were erased. Raises `OSError`."""
    written = files.written_portraits(now - SWEPT_SECONDS, "portraits")
    return sum(_sweep(ledger, files, folder, names) for folder, names in written)


def _sweep(ledger: Ledger, files: Files, folder: Path, found: Sequence[str]) -> int:
    kept = ledger.queue.portrait_files(folder.name) if found else None
    if kept is None:
        return 0
    left = [name for name in found if name not in kept]
    for name in left:
        files.remove(folder / name)
    return len(left)
