"""The keeper: requeues jobs whose worker died, notifies workers of waiting jobs, and erases expired data."""

import logging
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

from portrait.errors import OperatorError, UserError
from tasks import accounts, erasing, webhooks
from tasks.files import Files
from tasks.jobs import DAY, Limits
from tasks.ledger.ledger import Ledger
from tasks.ledger.upkeep import copies
from tasks.ledger.upkeep.events import thin_events
from tasks.queue import broker, delivery, retention
from tasks.queue.keeper_beat import KeeperBeat
from tasks.queue.processes import liveness
from tasks.settings import TaskSettings
from tasks.telemetry import correlation

PURGE_INTERVAL = 600.0
"""Seconds between two purges: retention times are days."""
ERASING_INTERVAL = 20.0
"""Seconds between two looks for erasures that are not done: whoever begins one does it at once, unless that is not possible."""
REWRITE_INTERVAL = DAY
"""Seconds between two rewrites of a PostgreSQL database from which something was erased."""
RECEIPT_DAYS = 1100
"""Days for which the receipts of erasures are kept, three years: for as long as somebody may ask whether it was done."""
_log = logging.getLogger("portrait.keeper")


@dataclass(frozen=True, slots=True)
class RequeueReport:
    """The result of one pass."""

    requeued: int
    """Jobs whose lease expired."""
    expired: int
    notified: tuple[str, ...]
    """Queues whose workers were notified."""


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """The counts of one purge."""

    people: int
    jobs: int
    folders: int
    """Staging folders without a lease, and unpacked styles that were left behind."""
    work_dirs: int
    """Checkpoint folders of training jobs that have ended."""
    orphans: int = 0
    """Files and folders that belonged to nothing, or were never completed."""
    training_sets: int = 0
    """Sets that later ones have replaced and nothing refers to."""
    events: int = 0
    """Events of progress that nobody needs any more."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """Requeues jobs, erases what has expired, and finishes erasures that somebody began and did not end.

    Any number may run: who comes second to a job or an erasure finds it done.
    """

    ledger: Ledger
    files: Files
    app: Celery
    settings: TaskSettings

    def requeue(self, now: float) -> RequeueReport:
        """Requeue jobs of lost workers, expire old ones, and notify workers of what waits; every few seconds."""
        lease = self.settings.lease
        requeued = self.ledger.queue.requeue_expired(now, Limits(lease.losses, lease.failures))
        for job in requeued:
            with correlation.about(request=job.request, job=job.id):
                _log.warning("job %s was lost by its worker (%d times), now %s", job.id, job.losses, job.state)
            if job.done:
                delivery.sweep(self.ledger, self.files, job.owner, job.id)
        expired = self.ledger.queue.expire(now, now - lease.queued_hours * 3600)
        waiting = [*self.ledger.queue.count_waiting(), *([webhooks.QUEUE] if self.ledger.webhooks.has_due(now) else [])]
        notified = [
            queue
            for queue in waiting
            # None: the broker cannot be reached. One message that no worker has read yet is enough.
            if broker.pending_messages(self.app, queue) == 0 and broker.notify(self.app, queue)
        ]
        return RequeueReport(len(requeued), len(expired), tuple(notified))

    def purge(self, now: float) -> PurgeReport:
        """Erase people, pictures, jobs and files whose retention time is over; every few minutes."""
        expired = retention.erase_expired(self.ledger, self.files, self.settings.retention_by_kind, now)
        self.ledger.api_keys.prune(now - DAY)
        self.ledger.sessions.prune(now)
        self.ledger.audit.prune(now - self.settings.retention.audit_days * DAY)
        accounts.forget_removed(self.ledger, self.files)
        self.ledger.idempotency.prune(now - DAY)
        self.ledger.usage.prune(now - DAY)
        self.ledger.webhooks.prune(now - self.settings.retention_days * DAY)
        self.ledger.workers.prune(now - 10 * self.settings.lease.seconds)
        self.ledger.erasures.prune(now - RECEIPT_DAYS * DAY)
        orphans = erasing.erase_orphans(self.ledger, self.files, now)
        orphans += delivery.sweep_all(self.ledger, self.files, now)
        copies.remove_old_copies(self.ledger.database, now)
        return PurgeReport(
            expired.people,
            expired.jobs,
            self._clean_staging(now),
            self._clean_work_dirs(now),
            orphans,
            retention.erase_replaced_sets(self.ledger, self.files, now),
            thin_events(self.ledger.database, now, now - DAY),
        )

    def run(self, stop: threading.Event) -> None:
        """Requeue, erase and purge at their intervals until `stop` is set; errors of database and disk are logged.

        What was deleted too long ago to be restored is erased in every pass: people expect it to be gone by then.
        """
        erased = purged = rewritten = 0.0
        watch, deleted = erasing.ErasureWatch(self.ledger), False
        noted: float | None = None
        thinned = False
        beat = KeeperBeat(self.ledger)
        liveness.keep_beating("keeper", self.settings.lease.heartbeat, stop)
        while not stop.wait(self.settings.keeper):
            try:
                now = self.ledger.now()
                self.requeue(now)
                erasing.erase_removed(self.ledger, self.files, now)
                if now - erased > ERASING_INTERVAL:
                    erased = now
                    erasing.finish_erasures(self.ledger, self.files, now)
                if now - purged > PURGE_INTERVAL:
                    purged = now
                    self.purge(now)
                    if not thinned:  # what ended while no keeper ran
                        thin_events(self.ledger.database, now)
                        thinned = True
                if now - rewritten > REWRITE_INTERVAL:
                    rewritten = now
                    deleted = watch.has_news() or deleted
                    deleted = deleted and not self.ledger.database.rewrite()
                self.note_erasures(noted)
                noted = now
                beat(now)
            except (OperatorError, OSError) as error:
                beat.failed()
                _log.error("the keeper's pass failed: %s", getattr(error, "code", type(error).__name__))
        beat.end()

    def note_erasures(self, since: float | None) -> int:
        """Add to the journal what any machine erased since then, or ever; returns how many lines. Raises `OSError`."""
        return 0 if self.ledger.journal is None else self.ledger.journal.update(self.ledger.database, since)

    def _clean_staging(self, now: float) -> int:
        """Remove staging folders without a lease, and previews and unpacked styles older than a day."""
        for file, changed in self.files.previews():
            if now - changed > DAY:
                self.files.remove(file)
        stale = [each for each in self.files.style_work_dirs() if _age(each, now) > DAY]
        for job, token, folder in self.files.staging_folders():
            if not self.ledger.queue.is_leased(job, token) and _age(folder, now) > self.settings.lease.seconds:
                stale.append(folder)
        for folder in stale:
            shutil.rmtree(folder, ignore_errors=True)
        return len(stale)

    def _clean_work_dirs(self, now: float) -> int:
        """Remove checkpoints of training jobs that have ended; of a failed one a day later, as it may be retried."""
        removed = 0
        for each in self.files.work_dirs():
            try:
                job = self.ledger.jobs.get(each.owner, each.id)
            except UserError:
                ended = True  # the ledger has no such job any more
            else:
                ended = job.done and (job.state != "failed" or now - (job.finished or now) > DAY)
            if ended:
                self.files.remove(each.path)
                removed += 1
        return removed


def _age(path: Path, now: float) -> float:
    """Return the seconds since a file or folder was last written."""
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0
