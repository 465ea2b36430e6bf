"""What an installation does just now: queues, jobs that run, workers, and what ended within the last minutes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tasks.jobs import FINISHED, KINDS, LEASED
from tasks.ledger.queue import JobQueue
from tasks.ledger.rows import Repository, WorkerRow
from tasks.ledger.tables import jobs
from tasks.ledger.workers import WorkerRegistry

RECENT_SECONDS = 300.0
"""Seconds over which ends and failures are counted."""
MOST_RUNNING = 200
MOST_ENDED = 10_000
"""Rows that are read at most."""


@dataclass(frozen=True, slots=True)
class QueueActivity:
    """One queue."""

    queue: str
    waiting: int
    oldest_wait: float
    """Seconds that its oldest job has waited; 0 where none waits."""
    running: int
    processes: int
    """Live worker processes that serve it."""


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that a worker has."""

    id: str
    owner: str
    kind: str
    queue: str
    state: str
    phase: str
    progress: float
    """0..1."""
    seconds: float
    """Since this run began."""
    worker: str
    losses: int
    failures: int


@dataclass(frozen=True, slots=True)
class Activity:
    """Everything at one moment."""

    at: float
    queues: Sequence[QueueActivity]
    running: Sequence[RunningJob]
    """The longest first."""
    workers: Sequence[WorkerRow]
    keepers: Sequence[WorkerRow]
    ended: Mapping[str, int]
    """Jobs that ended within `RECENT_SECONDS`, by state."""
    failures: Mapping[str, int]
    """Those of them that failed, by the code of their error, the most frequent first."""

    @property
    def per_minute(self) -> float:
        """Jobs that ended a minute."""
        return sum(self.ended.values()) * 60 / RECENT_SECONDS


class ActivityRepository(Repository):
    """Reads the present activity of all owners."""

    def now(self, now: float) -> Activity:
        """Return what is done at `now`; raises `OperatorError` (`database_unreachable`)."""
        queue, registry = JobQueue(self.database), WorkerRegistry(self.database)
        workers, running = registry.list_live(now), self._running(now)
        waiting, since = queue.count_waiting(), queue.oldest_waiting()
        served = Counter(name for worker in workers for name in worker.queues)
        busy = Counter(job.queue for job in running)
        names = sorted({*waiting, *served, *busy})
        queues = [
            QueueActivity(name, waiting.get(name, 0), now - since.get(name, now), busy[name], served[name])
            for name in names
        ]
        ended, failures = self._ended(now - RECENT_SECONDS)
        return Activity(now, queues, running, workers, registry.list_keepers(now), ended, failures)

    def _running(self, now: float) -> list[RunningJob]:
        held = sa.select(jobs).where(jobs.c.state.in_(LEASED)).order_by(jobs.c.started).limit(MOST_RUNNING)
        with self.database.read() as connection:
            return [
                RunningJob(
                    *(row.id, row.owner, row.kind, row.queue, row.state, row.phase, row.progress),
                    seconds=max(0.0, now - (row.started or now)),
                    worker=row.worker or "",
                    losses=row.losses,
                    failures=row.failures,
                )
                for row in connection.execute(held)
            ]

    def _ended(self, since: float) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Counts by state, and of failures by code; kinds and states are named, so that an index finds the few rows."""
        late = jobs.c.kind.in_(KINDS) & jobs.c.state.in_(FINISHED) & (jobs.c.finished > since)
        with self.database.read() as connection:
            rows = connection.execute(sa.select(jobs.c.state, jobs.c.fault).where(late).limit(MOST_ENDED)).all()
        codes = Counter(str(row.fault["code"]) for row in rows if row.state == "failed" and row.fault)
        return dict(sorted(Counter(row.state for row in rows).items())), dict(codes.most_common())
