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
from tasks.ledger.ledger import Ledger
from tasks.queue import broker
from tasks.settings import TaskSettings

DAY = 86_400.0
PURGE_INTERVAL = 600.0
"""Seconds between two purges: dates are days."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RequeueReport:
    """What one pass did."""

    requeued: int
    """Jobs taken back from workers that were not heard of."""
    expired: int
    notified: tuple[str, ...]
    """Queues that were notified for."""


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What one purge did."""

    people: int
    jobs: int
    folders: int
    """Staging folders that nobody holds."""
    work_dirs: int
    """Checkpoints of lessons that nobody goes on from."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """Any number of keepers may run: each thing they do is a conditional update."""

    ledger: Ledger
    files: Files
    app: Celery
    settings: TaskSettings

    def requeue(self, now: float) -> RequeueReport:
        """Put right what workers left; every few seconds."""
        lease = self.settings.lease
        lost = self.ledger.queue.requeue_expired(now, Limits(lease.losses, lease.failures))
        for job in lost:
            _log.warning("job %s was lost by its worker (%d times), now %s", job.id, job.losses, job.state)
        expired = self.ledger.queue.expire(now, now - lease.queued_hours * 3600)
        waiting = [*self.ledger.queue.count_waiting(), *([webhooks.QUEUE] if self.ledger.webhooks.has_due(now) else [])]
        notified = [
            queue
            for queue in waiting
            # None: the broker is away, and would not hear. A ring that is not heard yet is enough.
            if broker.pending_messages(self.app, queue) == 0 and broker.notify(self.app, queue)
        ]
        return RequeueReport(len(lost), len(expired), tuple(notified))

    def purge(self, now: float) -> PurgeReport:
        """Erase what is past its date; every few minutes."""
        since = now - self.settings.retention_days * DAY
        forgotten = self.ledger.people.unused_since(since)
        for person in forgotten:
            gone = self.ledger.people.erase(person.owner, person.id, now)
            self.files.erase_person(person.owner, person.id, gone.jobs)
        for template in self.ledger.templates.created_before(since):
            self.ledger.templates.delete(template.owner, template.id, now)
            self.files.erase_file(self.files.template(template.owner, template.id))
        pruned = self.ledger.queue.prune(since)
        for job in pruned:
            self.files.erase_job(job.owner, job.id)
        self.ledger.api_keys.prune(now - DAY)
        self.ledger.idempotency.prune(now - DAY)
        self.ledger.webhooks.prune(since)
        self.ledger.workers.prune(now - 10 * self.settings.lease.seconds)
        return PurgeReport(len(forgotten), len(pruned), self._clean_staging(now), self._clean_work_dirs(now))

    def run(self, stop: threading.Event) -> None:
        """Keep house until told to stop."""
        purged = 0.0
        while not stop.wait(self.settings.keeper):
            now = time.time()
            try:
                self.requeue(now)
                if now - purged > PURGE_INTERVAL:
                    purged = now
                    self.purge(now)
            except (OperatorError, OSError) as error:
                _log.error("the keeper's pass failed: %s", getattr(error, "code", type(error).__name__))

    def _clean_staging(self, now: float) -> int:
        """Remove what workers staged and lost, and previews and half-unpacked styles that stayed behind."""
        swept = 0
        for job, token, folder in self.files.staging_folders():
            if not self.ledger.queue.is_leased(job, token) and _age(folder, now) > self.settings.lease.seconds:
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
        for _, file in self.files.previews():
            if _age(file, now) > DAY:
                file.unlink(missing_ok=True)
        for folder in self.files.style_work_dirs():
            if _age(folder, now) > DAY:
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
        return swept

    def _clean_work_dirs(self, now: float) -> int:
        """Remove checkpoints of lessons that have ended; of one that failed a day later, as it may be retried."""
        tidied = 0
        for owner, id, folder in self.files.work_dirs():
            try:
                job = self.ledger.jobs.get(owner, id)
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
