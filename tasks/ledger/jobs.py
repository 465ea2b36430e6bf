"""The owner's side of the queue: ask, look, follow, cancel, try again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from portrait.errors import UserError
from tasks import jobs as states
from tasks.jobs import Job
from tasks.ledger import transitions
from tasks.ledger.database import Database
from tasks.ledger.rows import EventRow, Page, agreed, one, row_as
from tasks.ledger.tables import job_events, job_people, jobs, people, turns, workers

DAY = 86_400.0
SAMPLE = 20
"""Past runs that an estimate goes by."""
LIVE = 60.0
"""A worker that was heard of within so many seconds is alive."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an owner may still ask for."""

    jobs: int
    """Not ended at once."""
    portraits_a_day: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands among the others."""

    place: int | None
    """1 is next; None when it does not wait."""
    seconds: float | None
    """Until it is done; None when there is nothing to go by."""
    missing: Sequence[str] = ()
    """Abilities that no live worker has, so that nobody can take it."""


@dataclass(frozen=True, slots=True)
class Board:
    """Jobs as their owners see them."""

    database: Database

    def add(self, job: Job, persons: Collection[str] = (), allowance: Allowance | None = None) -> Job:
        """Put a queued job into the ledger; `persons` are the people in it, who must be the owner's.

        Raises `quota_jobs`, `quota_portraits` beyond the allowance, with `retry_after` in seconds.
        """
        with self.database.write() as connection:
            if allowance is not None:
                self.database.in_line(connection, job.owner)
                _allow(connection, job, allowance)
            for person in persons:
                one(connection, people, job.owner, person)
            connection.execute(sa.insert(jobs).values(transitions.values_of(job)))
            if persons:
                connection.execute(
                    sa.insert(job_people), [{"job": job.id, "person": each} for each in sorted(set(persons))]
                )
                connection.execute(sa.update(people).where(people.c.id.in_(persons)).values(used=job.created))
            transitions.tell(connection, job, job.created)
        return job

    def get(self, owner: str, id: str) -> Job:
        """One job; raises `not_found`, `erased`."""
        with self.database.read() as connection:
            return transitions.job_of(one(connection, jobs, owner, id))

    def list(
        self, owner: str, state: Collection[str] = (), kind: str = "", cursor: str | None = None, limit: int = 50
    ) -> Page[Job]:
        """The owner's jobs, the newest first."""
        condition = jobs.c.owner == owner
        return self._page(_filtered(condition, state, kind), cursor, limit)

    def list_all(
        self, state: Collection[str] = (), kind: str = "", cursor: str | None = None, limit: int = 50
    ) -> Page[Job]:
        """Everybody's jobs, for operators."""
        return self._page(_filtered(sa.true(), state, kind), cursor, limit)

    def of_person(self, owner: str, person: str) -> Sequence[Job]:
        """Jobs that a person is in, the newest first."""
        with self.database.read() as connection:
            chosen = sa.select(jobs).join(job_people, job_people.c.job == jobs.c.id)
            mine = chosen.where(job_people.c.person == person, jobs.c.owner == owner).order_by(jobs.c.id.desc())
            return [transitions.job_of(row) for row in connection.execute(mine)]

    def persons(self, owner: str, id: str) -> Sequence[str]:
        """The people in a job."""
        with self.database.read() as connection:
            one(connection, jobs, owner, id)
            return list(connection.scalars(sa.select(job_people.c.person).where(job_people.c.job == id)))

    def cancel(self, owner: str, id: str, now: float) -> Job:
        """Cancelled at once while queued; `cancelling` while it runs; raises `bad_transition` when it has ended."""
        with self.database.write() as connection:
            return transitions.owned(connection, owner, id, partial(states.cancel_asked, now=now), now)

    def retry(self, owner: str, id: str, now: float, allowance: Allowance | None = None) -> Job:
        """Queue it again after it failed, was cancelled or expired.

        Raises `bad_transition`; `consent_withdrawn` for who is in it; `quota_jobs`, `quota_portraits` as for a new job.
        """
        with self.database.write() as connection:
            self.database.in_line(connection, owner)
            job = states.retried(transitions.job_of(one(connection, jobs, owner, id)), now)
            for person in connection.scalars(sa.select(job_people.c.person).where(job_people.c.job == id)).all():
                agreed(connection, person)
            if allowance is not None:
                _allow(connection, job, allowance)
            return transitions.owned(connection, owner, id, partial(states.retried, now=now), now)

    def cancel_any(self, id: str, now: float) -> Job:
        """The same for operators, whoever owns the job."""
        with self.database.write() as connection:
            return transitions.anyones(connection, id, partial(states.cancel_asked, now=now), now)

    def retry_any(self, id: str, now: float) -> Job:
        """The same for operators, whoever owns the job."""
        with self.database.write() as connection:
            return transitions.anyones(connection, id, partial(states.retried, now=now), now)

    def events(self, owner: str, id: str, after: int = 0, limit: int = 200) -> Sequence[EventRow]:
        """What happened to a job after event `after`, in order."""
        with self.database.read() as connection:
            one(connection, jobs, owner, id)
            chosen = sa.select(job_events).where(job_events.c.job == id, job_events.c.id > after)
            rows = connection.execute(chosen.order_by(job_events.c.id).limit(limit))
            return [row_as(EventRow, row) for row in rows]

    def in_flight(self, owner: str) -> int:
        """How many of the owner's jobs have not ended, for the quota."""
        with self.database.read() as connection:
            return _in_flight(connection, owner)

    def portraits_asked(self, owner: str, now: float) -> int:
        """How many portraits the owner asked for within a day, for the quota."""
        with self.database.read() as connection:
            return _asked(connection, owner, now)[0]

    def counts(self) -> dict[tuple[str, str], int]:
        """Jobs by queue and state, for metrics."""
        with self.database.read() as connection:
            chosen = sa.select(jobs.c.queue, jobs.c.state, sa.func.count()).group_by(jobs.c.queue, jobs.c.state)
            return {(queue, state): count for queue, state, count in connection.execute(chosen)}

    def standing(self, job: Job, now: float) -> Standing:
        """Place in the queue, estimate, and what is missing."""
        if job.done:
            return Standing(None, None)
        with self.database.read() as connection:
            past = _past(connection, job.kind)
            live = _live(connection, job.queue, now)
            place = _place(connection, job) if job.state == "queued" else None
        able = [abilities for abilities in live if job.needs <= abilities]
        missing: list[str] = []
        if place is not None and not able:
            # The worker that lacks least says what it takes.
            missing = sorted(min((job.needs - each for each in live), key=len, default=job.needs))
            return Standing(place, None, missing)
        return Standing(place, states.seconds_left(job, now, past, place or 1, len(able)))

    def _page(self, condition: sa.ColumnElement[bool], cursor: str | None, limit: int) -> Page[Job]:
        chosen = sa.select(jobs).where(condition)
        if cursor:
            chosen = chosen.where(jobs.c.id < cursor)
        with self.database.read() as connection:
            rows = connection.execute(chosen.order_by(jobs.c.id.desc()).limit(limit + 1)).all()
        return Page(
            [transitions.job_of(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None
        )


def _allow(connection: sa.Connection, job: Job, allowance: Allowance) -> None:
    if _in_flight(connection, job.owner) >= allowance.jobs:
        sentence = f"{allowance.jobs} jobs at once are allowed. Wait until one has ended."
        raise UserError("quota_jobs", sentence, {"retry_after": 10})
    if job.kind != "generate":
        return
    asked, oldest = _asked(connection, job.owner, job.created)
    if asked + job.units > allowance.portraits_a_day:
        left = max(0, allowance.portraits_a_day - asked)
        wait = max(1, round(oldest + DAY - job.created)) if oldest else int(DAY)
        sentence = f"{allowance.portraits_a_day} portraits a day are allowed, {left} are left. Ask for fewer, or later."
        raise UserError("quota_portraits", sentence, {"retry_after": wait})


def _in_flight(connection: sa.Connection, owner: str) -> int:
    chosen = sa.select(sa.func.count()).where(jobs.c.owner == owner, jobs.c.state.not_in(states.FINISHED))
    return connection.scalar(chosen) or 0


def _asked(connection: sa.Connection, owner: str, now: float) -> tuple[int, float | None]:
    """Portraits asked for within a day, and when the first of them was."""
    spent = jobs.c.state.not_in(states.FINISHED - {"succeeded"})
    lately = (jobs.c.owner == owner) & (jobs.c.kind == "generate") & (jobs.c.created > now - DAY) & spent
    units, oldest = connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(jobs.c.units), 0), sa.func.min(jobs.c.created)).where(lately)
    ).one()
    return int(units), oldest


def _filtered(condition: sa.ColumnElement[bool], state: Collection[str], kind: str) -> sa.ColumnElement[bool]:
    if state:
        condition = condition & jobs.c.state.in_(state)
    return condition & (jobs.c.kind == kind) if kind else condition


def _past(connection: sa.Connection, kind: str) -> list[float]:
    """Seconds per unit of the last runs that succeeded."""
    chosen = sa.select(jobs.c.started, jobs.c.finished, jobs.c.units).where(
        jobs.c.kind == kind, jobs.c.state == "succeeded"
    )
    rows = connection.execute(chosen.order_by(jobs.c.finished.desc()).limit(SAMPLE))
    return [(row.finished - row.started) / max(1, row.units) for row in rows]


def _live(connection: sa.Connection, queue: str, now: float) -> list[frozenset[str]]:
    """What each live worker of a queue can do."""
    rows = connection.execute(sa.select(workers).where(workers.c.beat > now - LIVE, workers.c.stopping.is_(False)))
    return [frozenset(row.abilities) for row in rows if queue in row.queues]


def _place(connection: sa.Connection, job: Job) -> int:
    """The order of `Queue.claim`, foretold: owners by when they were served, and by their first jobs where that is equal."""
    waiting = (jobs.c.queue == job.queue) & (jobs.c.state == "queued")
    order = (jobs.c.priority.desc(), jobs.c.created, jobs.c.id)
    ranked = (
        sa.select(
            jobs.c.owner,
            jobs.c.id,
            jobs.c.priority,
            jobs.c.created,
            sa.func.row_number().over(partition_by=jobs.c.owner, order_by=order).label("rank"),
            sa.func.count().over(partition_by=jobs.c.owner).label("waiting"),
        )
        .where(waiting)
        .subquery()
    )
    own = connection.scalar(sa.select(ranked.c.rank).where(ranked.c.id == job.id)) or 1
    served = sa.func.coalesce(turns.c.served, 0)
    line = (
        sa.select(ranked.c.owner, ranked.c.waiting)
        .outerjoin(turns, (turns.c.owner == ranked.c.owner) & (turns.c.queue == job.queue))
        .where(ranked.c.rank == 1)
        .order_by(served, ranked.c.priority.desc(), ranked.c.created, ranked.c.id)
    )
    others, first = [], True
    for row in connection.execute(line):
        if row.owner == job.owner:
            first = False
        else:
            others.append((row.waiting, first))
    return states.position(own - 1, others)
