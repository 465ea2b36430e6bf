"""The owner's side of the queue: add, read, follow, cancel and retry jobs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from portrait.errors import UserError
from tasks import jobs as states
from tasks.jobs import Job
from tasks.ledger import transitions, usage
from tasks.ledger.privacy.consents import persons_in, require_consent
from tasks.ledger.privacy.retention import use_in_job
from tasks.ledger.rows import EventRow, Page, Repository, get_owned, row_as
from tasks.ledger.tables import job_events, job_people, jobs, portraits, turns, workers
from tasks.ledger.usage import Allowance

PAST_RUNS = 20
"""Past runs that an estimate is made from."""
LIVE_SECONDS = 60.0
"""A worker whose heartbeat is not older than so many seconds is alive."""
SILENT_SECONDS = 25.0
"""Seconds since a worker's last heartbeat after which no time is told for its job: two and a half times the usual interval."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Conditions on jobs; an empty field is no condition."""

    state: Collection[str] = ()
    kind: str = ""
    order: str = ""
    seen: bool | None = None
    """Whether it was noted how they ended."""
    person: str = ""


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """A job's place in its queue and the estimate of its time."""

    place: int | None
    """1 is next; None when the job is not queued."""
    seconds: float | None
    """Until it is done; None when there is nothing to estimate from."""
    missing: Sequence[str] = ()
    """Abilities that no live worker has, so that nobody can take it."""
    portraits: Sequence[str] = ()
    """Ids of the portraits that it has finished and that were not deleted; when it has ended, the best first."""


class JobRepository(Repository):
    """Jobs as their owners see them."""

    def add(self, job: Job, persons: Collection[str] = (), allowance: Allowance | None = None) -> Job:
        """Insert a queued job; `persons` are the people in it, who must be the owner's.

        What it is to make is charged to the owner. Raises `consent_withdrawn`, `consent_outdated`, `order_too_large`, and
        `quota_…` beyond the allowance with `retry_after` in seconds.
        """
        self.add_together([(job, persons)], allowance)
        return job

    def add_together(
        self, placed: Sequence[tuple[Job, Collection[str]]], allowance: Allowance | None = None
    ) -> Sequence[Job]:
        """Insert jobs of one owner, each with the people in it, all or none; the allowance counts over all of them.

        Where jobs of the same `order_id`, or with these ids, are there already, those are returned and nothing is written.
        Raises as `add`.
        """
        first = placed[0][0]
        with self.database.write() as connection:
            self.database.lock_owner(connection, first.owner)
            if before := _placed_before(connection, first):
                return before
            if allowance is not None:
                usage.check_order(connection, [job for job, _ in placed], allowance, first.created)
            for job, persons in placed:
                _insert(connection, job, persons)
        return [job for job, _ in placed]

    def get(self, owner: str, id: str) -> Job:
        """One job; raises `not_found`, `erased`."""
        with self.database.read() as connection:
            return transitions.job_from_row(get_owned(connection, jobs, owner, id))

    def list(
        self, owner: str, wanted: JobFilter = JobFilter(), cursor: str | None = None, limit: int = 50
    ) -> Page[Job]:
        """The owner's jobs that fit the filter, the newest first."""
        return self._list(jobs.c.owner == owner, wanted, cursor, limit)

    def list_all(
        self, state: Collection[str] = (), kind: str = "", cursor: str | None = None, limit: int = 50, owner: str = ""
    ) -> Page[Job]:
        """The jobs of all owners, or of one, the newest first, for operators."""
        return self._list(jobs.c.owner == owner if owner else sa.true(), JobFilter(state, kind), cursor, limit)

    def get_any(self, id: str) -> Job:
        """A job, whoever owns it, for operators; raises `not_found`."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == id)).first()
        if row is None:
            raise UserError("not_found", "There is no such job.")
        return transitions.job_from_row(row)

    def mark_seen(self, owner: str, ids: Sequence[str], now: float) -> int:
        """Note that the owner saw how these jobs ended; returns how many were not marked before.

        Jobs that have not ended are left as they are, and so are ids of others.
        """
        mine = (jobs.c.owner == owner) & jobs.c.id.in_(ids) & jobs.c.state.in_(states.FINISHED) & jobs.c.seen.is_(None)
        return self._write(sa.update(jobs).where(mine).values(seen=now))

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
            usage.drop_order(connection, job)
            if allowance is not None:
                usage.check_order(connection, [job], allowance, now)
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

    def count_by_state(self, ended: bool | None = None) -> dict[tuple[str, str], int]:
        """Count jobs by queue and state: those that have ended, those that have not, or for None all."""
        chosen = sa.select(jobs.c.queue, jobs.c.state, sa.func.count()).group_by(jobs.c.queue, jobs.c.state)
        if ended is not None:
            chosen = chosen.where(jobs.c.state.in_(states.FINISHED if ended else states.ACTIVE))
        with self.database.read() as connection:
            return {(queue, state): count for queue, state, count in connection.execute(chosen)}

    def queue_status(self, job: Job, now: float, silent: float = SILENT_SECONDS) -> QueueStatus:
        """Return a job's place in the queue, its estimate, and the abilities that no live worker has."""
        return self.queue_statuses([job], now, silent)[job.id]

    def queue_statuses(
        self, listed: Sequence[Job], now: float, silent: float = SILENT_SECONDS
    ) -> Mapping[str, QueueStatus]:
        """Return what `queue_status` does of several jobs, by id; what they share is read once.

        No time is told for a job whose worker was not heard of for `silent` seconds.
        """
        with self.database.read() as connection:
            return _statuses(connection, listed, now, silent)

    def get_with_status(
        self, owner: str, id: str, now: float, silent: float = SILENT_SECONDS
    ) -> tuple[Job, QueueStatus]:
        """One job with what `queue_status` returns of it; raises `not_found`, `erased`."""
        with self.database.read() as connection:
            job = transitions.job_from_row(get_owned(connection, jobs, owner, id))
            return job, _statuses(connection, [job], now, silent)[id]

    def _list(self, whose: sa.ColumnElement[bool], wanted: JobFilter, cursor: str | None, limit: int) -> Page[Job]:
        chosen = sa.select(jobs).where(whose)
        if wanted.state:
            chosen = chosen.where(jobs.c.state.in_(wanted.state))
        if wanted.kind:
            chosen = chosen.where(jobs.c.kind == wanted.kind)
        if wanted.order:
            chosen = chosen.where(jobs.c.order_id == wanted.order)
        if wanted.seen is not None:
            chosen = chosen.where(jobs.c.seen.is_not(None) if wanted.seen else jobs.c.seen.is_(None))
        if wanted.person:
            about = sa.select(job_people.c.job).where(job_people.c.person == wanted.person)
            chosen = chosen.where(jobs.c.id.in_(about))
        return self._page(transitions.job_from_row, chosen, cursor, limit)


@dataclass(frozen=True, slots=True)
class _Queues:
    """The queues within one transaction: what several jobs ask of them is read once."""

    connection: sa.Connection
    now: float
    silent: float
    queued: Sequence[Job]
    """Those of the jobs that wait: the places of one queue are read together."""
    _past: dict[str, list[float]] = field(default_factory=dict)
    _live: dict[str, list[frozenset[str]]] = field(default_factory=dict)
    _places: dict[str, Mapping[str, int]] = field(default_factory=dict)
    _free: dict[str, float] = field(default_factory=dict)

    def status(self, job: Job) -> QueueStatus:
        """A job's place in the queue, its estimate, and the abilities that no live worker has."""
        if job.done:
            return QueueStatus(None, None)
        place = self._place(job) if job.state == "queued" else None
        able = [abilities for abilities in self._live_on(job.queue) if job.needs <= abilities]
        if place is not None and not able:
            # The worker that lacks least says what it takes.
            lacking = (job.needs - each for each in self._live_on(job.queue))
            return QueueStatus(place, None, sorted(min(lacking, key=len, default=job.needs)))
        if place is None and self._is_silent(job.worker):
            return QueueStatus(None, None)
        seconds = states.seconds_left(job, self.now, self._past_of(job.kind), place or 1, len(able))
        if place is not None and seconds is not None:
            seconds += self._until_free(job.queue, len(able))
        return QueueStatus(place, seconds)

    def _until_free(self, queue: str, workers: int) -> float:
        """Seconds until the first worker of a queue is free; 0 where one is, and where it is not known."""
        if queue not in self._free:
            held = self.connection.execute(_HELD, {"of_queue": queue})
            running = [transitions.job_from_row(row) for row in held]
            left = [states.seconds_left(job, self.now, self._past_of(job.kind), 1, workers) or 0.0 for job in running]
            self._free[queue] = min(left, default=0.0) if len(left) >= workers else 0.0
        return self._free[queue]

    def _place(self, job: Job) -> int:
        if job.queue not in self._places:
            asked = [each for each in self.queued if each.queue == job.queue]
            self._places[job.queue] = _queue_positions(self.connection, job.queue, asked)
        return self._places[job.queue].get(job.id, 1)

    def _past_of(self, kind: str) -> list[float]:
        if kind not in self._past:
            self._past[kind] = _past_durations(self.connection, kind)
        return self._past[kind]

    def _live_on(self, queue: str) -> list[frozenset[str]]:
        if queue not in self._live:
            self._live[queue] = _live_abilities(self.connection, queue, self.now)
        return self._live[queue]

    def _is_silent(self, worker: str | None) -> bool:
        """Whether a worker that is in the registry was not heard of for a while."""
        beat = self.connection.scalar(_BEAT, {"worker": worker})
        return beat is not None and beat < self.now - self.silent


def _insert(connection: sa.Connection, job: Job, persons: Collection[str]) -> None:
    """Insert a queued job with the people in it, charge it, and note their use."""
    require_consent(connection, job.owner, persons)
    connection.execute(_ADD, transitions.job_to_values(job))
    if persons:
        rows = [{"job": job.id, "person": each} for each in sorted(set(persons))]
        connection.execute(_ADD_PERSON, rows)
    use_in_job(connection, job, persons, job.created)
    usage.charge_order(connection, job, job.created)
    transitions.record_event(connection, job, job.created)


def _placed_before(connection: sa.Connection, job: Job) -> list[Job]:
    """The job, or those of its order, where they are there already, in the order in which they were placed."""
    chosen, id = (_OF_ORDER, job.order_id) if job.order_id else (_OF_ID, job.id)
    rows = connection.execute(chosen, {"of_owner": job.owner, "of_id": id})
    return [transitions.job_from_row(row) for row in rows]


def _statuses(connection: sa.Connection, listed: Sequence[Job], now: float, silent: float) -> Mapping[str, QueueStatus]:
    view = _Queues(connection, now, silent, [job for job in listed if job.state == "queued"])
    finished = _portraits_of(connection, [job.id for job in listed if job.kind == "generate"])
    return {job.id: replace(view.status(job), portraits=finished.get(job.id, ())) for job in listed}


def _portraits_of(connection: sa.Connection, ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Ids of the portraits of jobs that are there and not deleted, by job, in the order of their numbers."""
    found: dict[str, list[str]] = {}
    for row in connection.execute(_PORTRAITS, {"of_jobs": ids}) if ids else ():
        found.setdefault(row.job, []).append(row.id)
    return found


def _past_durations(connection: sa.Connection, kind: str) -> list[float]:
    """Return the seconds per unit of the last runs that succeeded."""
    rows = connection.execute(_PAST, {"of_kind": kind})
    return [(row.finished - row.started) / max(1, row.units) for row in rows]


def _live_abilities(connection: sa.Connection, queue: str, now: float) -> list[frozenset[str]]:
    """Return the abilities of each live worker of a queue."""
    rows = connection.execute(_LIVE, {"since": now - LIVE_SECONDS})
    return [frozenset(row.abilities) for row in rows if queue in row.queues]


def _queue_positions(connection: sa.Connection, queue: str, asked: Sequence[Job]) -> Mapping[str, int]:
    """Predict the order of `JobQueue.claim` for some jobs that wait in a queue. Places by job.

    Jobs of a higher priority come first; of one priority owners take turns, by when they were served, then by their oldest
    jobs.
    """
    levels = _waiting_owners(connection, queue)
    asking = {"owners": sorted({job.owner for job in asked}), "asked": [job.id for job in asked]}
    ranks = connection.execute(_AFTER, {"of_queue": queue, "oldest": min(job.created for job in asked), **asking}).all()
    places: dict[str, int] = {}
    served: dict[str, int] = {}
    higher = 0
    for priority, waiting in sorted(levels.items(), reverse=True):
        # Who is served at a higher priority comes later at this one.
        owners = sorted(waiting, key=lambda owner: served.get(owner, 0))
        counts = [waiting[owner] for owner in owners]
        own_turn = {owner: turn for turn, owner in enumerate(owners)}
        # Who is not among them was queued between the two statements.
        rows = [row for row in ranks if row.priority == priority and row.owner in own_turn]
        before = [max(0, waiting[row.owner] - 1 - row.after) for row in rows]
        found = states.queue_positions(
            counts, [(own_turn[row.owner], at) for row, at in zip(rows, before, strict=True)]
        )
        places |= {row.id: higher + place for row, place in zip(rows, found, strict=True)}
        if len(levels) > 1:
            last = states.queue_positions(counts, [(turn, count - 1) for turn, count in enumerate(counts)])
            served |= {owner: higher + place for owner, place in zip(owners, last, strict=True)}
        higher += sum(counts)
    return places


def _waiting_owners(connection: sa.Connection, queue: str) -> Mapping[int, Mapping[str, int]]:
    """Count the jobs that wait in a queue, by priority and by owner in the order of their turns."""
    found: dict[int, dict[str, int]] = {}
    for row in connection.execute(_WAITING, {"of_queue": queue}):
        found.setdefault(row.priority, {})[row.owner] = row.waiting
    return found


def _select_waiting() -> "sa.Select[*tuple[Any, ...]]":
    """Owners with jobs that wait in a queue, by priority, in the order of their turns."""
    own, oldest = (jobs.c.priority, jobs.c.owner), sa.func.min(jobs.c.created).label("oldest")
    each = sa.select(*own, sa.func.count().label("waiting"), oldest, sa.func.min(jobs.c.id).label("first"))
    grouped = each.where(*_WAITS).group_by(*own).subquery()
    chosen = sa.select(grouped.c.priority, grouped.c.owner, grouped.c.waiting)
    theirs = (turns.c.owner == grouped.c.owner) & (turns.c.queue == sa.bindparam("of_queue"))
    order = sa.func.coalesce(turns.c.served, 0), grouped.c.oldest, grouped.c.first
    return chosen.outerjoin(turns, theirs).order_by(*order)


def _select_after() -> "sa.Select[*tuple[Any, ...]]":
    """How many jobs of its own owner and priority wait after each of some jobs: of the newest no others are looked at."""
    own, newest = (jobs.c.owner, jobs.c.priority), (jobs.c.created.desc(), jobs.c.id.desc())
    after = (sa.func.row_number().over(partition_by=own, order_by=newest) - 1).label("after")
    theirs = jobs.c.owner.in_(sa.bindparam("owners", expanding=True)) & (jobs.c.created >= sa.bindparam("oldest"))
    ranked = sa.select(jobs.c.id, *own, after).where(*_WAITS, theirs).subquery()
    return sa.select(ranked).where(ranked.c.id.in_(sa.bindparam("asked", expanding=True)))


# Made once: to put a statement together takes longer than to have it answered. That a job waits is written out: PostgreSQL
# takes its index of what waits only where no value says so.
_IN_QUEUE = jobs.c.queue == sa.bindparam("of_queue")
_WAITS = (_IN_QUEUE, jobs.c.state == sa.literal_column("'queued'"))
_WAITING, _AFTER = _select_waiting(), _select_after()
_ADD, _ADD_PERSON = sa.insert(jobs), sa.insert(job_people)
_OWNED = sa.select(jobs).where(jobs.c.owner == sa.bindparam("of_owner")).order_by(jobs.c.created, jobs.c.id)
_OF_ID, _OF_ORDER = (_OWNED.where(column == sa.bindparam("of_id")) for column in (jobs.c.id, jobs.c.order_id))
_HELD = sa.select(jobs).where(_IN_QUEUE, jobs.c.state.in_(states.LEASED))
_BEAT = sa.select(workers.c.beat).where(workers.c.id == sa.bindparam("worker"))
_ALIVE = (workers.c.beat > sa.bindparam("since")) & workers.c.stopping.is_(False)
_LIVE = sa.select(workers.c.queues, workers.c.abilities).where(_ALIVE)
_PAST = sa.select(jobs.c.started, jobs.c.finished, jobs.c.units).order_by(jobs.c.finished.desc()).limit(PAST_RUNS)
_PAST = _PAST.where(jobs.c.kind == sa.bindparam("of_kind"), jobs.c.state == "succeeded")
_SHOWN = portraits.c.job.in_(sa.bindparam("of_jobs", expanding=True)) & portraits.c.removed.is_(None)
_PORTRAITS = sa.select(portraits.c.job, portraits.c.id).where(_SHOWN).order_by(portraits.c.number, portraits.c.id)
