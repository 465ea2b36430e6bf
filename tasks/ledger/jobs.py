"""The owner's side of the queue: add, read, follow, cancel and retry jobs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from tasks import jobs as states
from tasks.jobs import Job
from tasks.ledger import transitions, usage
from tasks.ledger.privacy.consents import persons_in, require_consent
from tasks.ledger.privacy.retention import use_in_job
from tasks.ledger.rows import EventRow, Page, Repository, get_owned, row_as
from tasks.ledger.tables import job_events, job_people, jobs, turns, workers
from tasks.ledger.usage import Allowance

PAST_RUNS = 20
"""Past runs that an estimate is made from."""
LIVE_SECONDS = 60.0
"""A worker whose heartbeat is not older than so many seconds is alive."""


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """A job's place in its queue and the estimate of its time."""

    place: int | None
    """1 is next; None when the job is not queued."""
    seconds: float | None
    """Until it is done; None when there is nothing to estimate from."""
    missing: Sequence[str] = ()
    """Abilities that no live worker has, so that nobody can take it."""


class JobRepository(Repository):
    """Jobs as their owners see them."""

    def add(self, job: Job, persons: Collection[str] = (), allowance: Allowance | None = None) -> Job:
        """Insert a queued job; `persons` are the people in it, who must be the owner's.

        What it is to make is charged to the owner. Raises `consent_withdrawn`, `consent_outdated`, `order_too_large`, and
        `quota_…` beyond the allowance with `retry_after` in seconds.
        """
        with self.database.write() as connection:
            if allowance is not None:
                self.database.lock_owner(connection, job.owner)
                usage.check_order(connection, job, allowance, job.created)
            require_consent(connection, job.owner, persons)
            connection.execute(sa.insert(jobs).values(transitions.job_to_values(job)))
            if persons:
                rows = [{"job": job.id, "person": each} for each in sorted(set(persons))]
                connection.execute(sa.insert(job_people), rows)
            use_in_job(connection, job, persons, job.created)
            usage.charge_order(connection, job, job.created)
            transitions.record_event(connection, job, job.created)
        return job

    def get(self, owner: str, id: str) -> Job:
        """One job; raises `not_found`, `erased`."""
        with self.database.read() as connection:
            return transitions.job_from_row(get_owned(connection, jobs, owner, id))

    def list(
        self, owner: str, state: Collection[str] = (), kind: str = "", cursor: str | None = None, limit: int = 50
    ) -> Page[Job]:
        """The owner's jobs, the newest first."""
        return self._list(jobs.c.owner == owner, state, kind, cursor, limit)

    def list_all(
        self, state: Collection[str] = (), kind: str = "", cursor: str | None = None, limit: int = 50
    ) -> Page[Job]:
        """The jobs of all owners, the newest first, for operators."""
        return self._list(sa.true(), state, kind, cursor, limit)

    def cancel(self, owner: str, id: str, now: float) -> Job:
        """Cancel a queued job at once, mark a running one `cancelling`; raises `bad_transition` when it has ended."""
        with self.database.write() as connection:
            return transitions.change_owned(connection, owner, id, partial(states.request_cancel, now=now), now)

    def retry(self, owner: str, id: str, now: float, allowance: Allowance | None = None) -> Job:
        """Queue a job again that failed, was cancelled or expired.

        Raises `bad_transition`, `consent_withdrawn` or `consent_outdated` of a person in it, and what `add` raises beyond the
        allowance.
        """
        with self.database.write() as connection:
            self.database.lock_owner(connection, owner)
            job = states.retry(transitions.job_from_row(get_owned(connection, jobs, owner, id)), now)
            require_consent(connection, owner, persons_in(connection, job))
            if allowance is not None:
                usage.check_order(connection, job, allowance, now)
            usage.charge_order(connection, job, now)
            return transitions.change_owned(connection, owner, id, partial(states.retry, now=now), now)

    def cancel_any(self, id: str, now: float) -> Job:
        """Cancel a job of any owner, for operators; raises `not_found`, `bad_transition`."""
        with self.database.write() as connection:
            return transitions.change_any(connection, id, partial(states.request_cancel, now=now), now)

    def retry_any(self, id: str, now: float) -> Job:
        """Queue an ended job of any owner again, for operators, without quotas.

        Raises `not_found`, `bad_transition`, and `consent_withdrawn` or `consent_outdated` of a person in it.
        """
        with self.database.write() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == id)).first()
            if row is not None:
                job = transitions.job_from_row(row)
                require_consent(connection, job.owner, persons_in(connection, job))
            return transitions.change_any(connection, id, partial(states.retry, now=now), now)

    def events(self, owner: str, id: str, after: int = 0, limit: int = 200) -> Sequence[EventRow]:
        """The events of a job after event `after`, in order."""
        with self.database.read() as connection:
            get_owned(connection, jobs, owner, id)
            chosen = sa.select(job_events).where(job_events.c.job == id, job_events.c.id > after)
            return [row_as(EventRow, row) for row in connection.execute(chosen.order_by(job_events.c.id).limit(limit))]

    def count_active(self, owner: str) -> int:
        """Count the owner's jobs that have not ended, for the quota."""
        with self.database.read() as connection:
            return usage.count_active(connection, owner)

    def count_portraits_today(self, owner: str, now: float) -> int:
        """Count the portraits that the owner ordered within 24 hours, for the quota."""
        with self.database.read() as connection:
            return usage.used(connection, owner, "portraits", now).amount

    def count_by_state(self) -> dict[tuple[str, str], int]:
        """Count all jobs by queue and state, for metrics."""
        with self.database.read() as connection:
            chosen = sa.select(jobs.c.queue, jobs.c.state, sa.func.count()).group_by(jobs.c.queue, jobs.c.state)
            return {(queue, state): count for queue, state, count in connection.execute(chosen)}

    def queue_status(self, job: Job, now: float) -> QueueStatus:
        """Return a job's place in the queue, its estimate, and the abilities that no live worker has."""
        if job.done:
            return QueueStatus(None, None)
        with self.database.read() as connection:
            past = _past_durations(connection, job.kind)
            live = _live_abilities(connection, job.queue, now)
            place = _queue_position(connection, job) if job.state == "queued" else None
        able = [abilities for abilities in live if job.needs <= abilities]
        if place is not None and not able:
            # The worker that lacks least says what it takes.
            missing = sorted(min((job.needs - each for each in live), key=len, default=job.needs))
            return QueueStatus(place, None, missing)
        return QueueStatus(place, states.seconds_left(job, now, past, place or 1, len(able)))

    def _list(
        self, whose: sa.ColumnElement[bool], state: Collection[str], kind: str, cursor: str | None, limit: int
    ) -> Page[Job]:
        chosen = sa.select(jobs).where(whose)
        if state:
            chosen = chosen.where(jobs.c.state.in_(state))
        if kind:
            chosen = chosen.where(jobs.c.kind == kind)
        return self._page(transitions.job_from_row, chosen, cursor, limit)


def _past_durations(connection: sa.Connection, kind: str) -> list[float]:
    """Return the seconds per unit of the last runs that succeeded."""
    succeeded = (jobs.c.kind == kind) & (jobs.c.state == "succeeded")
    chosen = sa.select(jobs.c.started, jobs.c.finished, jobs.c.units).where(succeeded)
    rows = connection.execute(chosen.order_by(jobs.c.finished.desc()).limit(PAST_RUNS))
    return [(row.finished - row.started) / max(1, row.units) for row in rows]


def _live_abilities(connection: sa.Connection, queue: str, now: float) -> list[frozenset[str]]:
    """Return the abilities of each live worker of a queue."""
    live = sa.select(workers).where(workers.c.beat > now - LIVE_SECONDS, workers.c.stopping.is_(False))
    return [frozenset(row.abilities) for row in connection.execute(live) if queue in row.queues]


def _queue_position(connection: sa.Connection, job: Job) -> int:
    """Predict the order of `JobQueue.claim`: owners by when they were served, then by their oldest jobs."""
    waiting = (jobs.c.queue == job.queue) & (jobs.c.state == "queued")
    rank = sa.func.row_number().over(partition_by=jobs.c.owner, order_by=(jobs.c.created, jobs.c.id)).label("rank")
    number = sa.func.count().over(partition_by=jobs.c.owner).label("waiting")
    ranked = sa.select(jobs.c.owner, jobs.c.id, jobs.c.created, rank, number).where(waiting).subquery()
    own = connection.scalar(sa.select(ranked.c.rank).where(ranked.c.id == job.id)) or 1
    served = sa.func.coalesce(turns.c.served, 0)
    first_jobs = (
        sa.select(ranked.c.owner, ranked.c.waiting)
        .outerjoin(turns, (turns.c.owner == ranked.c.owner) & (turns.c.queue == job.queue))
        .where(ranked.c.rank == 1)
        .order_by(served, ranked.c.created, ranked.c.id)
    )
    others, first = [], True
    for row in connection.execute(first_jobs):
        if row.owner == job.owner:
            first = False
        else:
            others.append((row.waiting, first))
    return states.queue_position(own - 1, others)
