"""Finds jobs whose worker died, rings for jobs and calls that nobody heard of, and purges what is past its date."""

import logging
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

from portrait.errors import OperatorError, UserError
from tasks import webhooks
from tasks.files import Files
from tasks.jobs import Limits
from tasks.ledger.ledger import Store
from tasks.queue import broker
from tasks.settings import Tasks

DAY = 86_400.0
PURGE_EVERY = 600.0
"""Seconds between two purges: dates are days."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tended:
    """What one pass did."""

    lost: int
    """Jobs taken back from workers that were not heard of."""
    expired: int
    rung: tuple[str, ...]
    """Queues that were rung for."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What one purge did."""

    people: int
    jobs: int
    folders: int
    """Staging folders that nobody holds."""
    desks: int
    """Checkpoints of lessons that nobody goes on from."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """Any number of keepers may run: each thing they do is a conditional update."""

    store: Store
    files: Files
    app: Celery
    settings: Tasks

    def tend(self, now: float) -> Tended:
        """Put right what workers left; every few seconds."""
        lease = self.settings.lease
        lost = self.store.queue.take_back_lost(now, Limits(lease.losses, lease.failures))
        for job in lost:
            _log.warning("job %s was lost by its worker (%d times), now %s", job.id, job.losses, job.state)
        expired = self.store.queue.expire(now, now - lease.queued_hours * 3600)
        waiting = [*self.store.queue.waiting(), *([webhooks.QUEUE] if self.store.hooks.due(now) else [])]
        rung = [
            queue
            for queue in waiting
            # None: the broker is away, and would not hear. A ring that is not heard yet is enough.
            if broker.unheard(self.app, queue) == 0 and broker.ring(self.app, queue)
        ]
        return Tended(len(lost), len(expired), tuple(rung))

    def purge(self, now: float) -> Purged:
        """Erase what is past its date; every few minutes."""
        since = now - self.settings.retention_days * DAY
        forgotten = self.store.people.unused_since(since)
        for person in forgotten:
            gone = self.store.people.erase(person.owner, person.id, now)
            self.files.erase_person(person.owner, person.id, gone.jobs)
        for template in self.store.templates.unused_since(since):
            self.store.templates.delete(template.owner, template.id, now)
            self.files.erase_file(self.files.template(template.owner, template.id))
        pruned = self.store.queue.prune(since)
        for job in pruned:
            self.files.erase_job(job.owner, job.id)
        self.store.access.prune(now - DAY)
        self.store.hooks.prune(since)
        self.store.staff.prune(now - 10 * self.settings.lease.seconds)
        return Purged(len(forgotten), len(pruned), self._sweep(now), self._tidy(now))

    def loop(self, stop: threading.Event) -> None:
        """Keep house until told to stop."""
        purged = 0.0
        while not stop.wait(self.settings.keeper):
            now = time.time()
            try:
                self.tend(now)
                if now - purged > PURGE_EVERY:
                    purged = now
                    self.purge(now)
            except (OperatorError, OSError) as error:
                _log.error("the keeper's pass failed: %s", getattr(error, "code", type(error).__name__))

    def _sweep(self, now: float) -> int:
        """Remove what workers staged and lost, and previews and half-unpacked styles that stayed behind."""
        swept = 0
        for job, token, folder in self.files.leftovers():
            if not self.store.queue.holds(job, token) and _age(folder, now) > self.settings.lease.seconds:
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
        for _, file in self.files.previews():
            if _age(file, now) > DAY:
                file.unlink(missing_ok=True)
        for folder in self.files.unpacked():
            if _age(folder, now) > DAY:
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
        return swept

    def _tidy(self, now: float) -> int:
        """Remove checkpoints of lessons that have ended; of one that failed a day later, as it may be retried."""
        tidied = 0
        for owner, id, folder in self.files.desks():
            try:
                job = self.store.jobs.get(owner, id)
            except UserError:
                over = True  # the ledger has forgotten it
            else:
                over = job.done and (job.state != "failed" or now - (job.finished or now) > DAY)
            if over:
                shutil.rmtree(folder, ignore_errors=True)
                tidied += 1
        return tidied


def _age(path: Path, now: float) -> float:
    """Seconds since a file or folder was last written."""
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0
