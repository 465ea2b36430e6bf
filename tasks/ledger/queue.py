"""The worker's side of the queue: claim, heartbeat, report, settle; and what the keeper puts right.

A claim is one conditional update that hands out a lease token. Every later write names the token, so that a worker that was
taken for dead writes nothing, however late it wakes.
"""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.sql.dml import ReturningUpdate

from portrait.errors import PortraitError, UserError
from tasks import jobs as states
from tasks.jobs import Fault, Job, LeaseLost, Limits
from tasks.ledger import drafts, transitions
from tasks.ledger.database import Database
from tasks.ledger.rows import DraftNews, IdentityRow, PortraitRow, SetRow
from tasks.ledger.tables import (
    identities,
    job_people,
    jobs,
    people,
    portraits,
    selfies,
    templates,
    training_sets,
    turns,
)

Verdicts: TypeAlias = Mapping[str, Mapping[str, Any]]
"""By selfie: verdict, reasons, quality."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished job leaves in the ledger."""

    result: Mapping[str, Any] = field(default_factory=dict)
    portraits: Sequence[PortraitRow] = ()
    training_set: SetRow | None = None
    identity: IdentityRow | None = None
    verdicts: Verdicts = field(default_factory=dict)
    faces: tuple[str, Sequence[Mapping[str, float]]] | None = None
    """A template and the boxes of its faces."""
    draft: DraftNews | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """What workers and the keeper do with jobs."""

    database: Database

    def claim(self, worker: str, queue: str, abilities: Collection[str], now: float, lease: float) -> Job | None:
        """Take the best job that this worker can do: the owner served longest ago first, then priority, then age."""
        with self.database.write() as connection:
            if not self.database.sqlite:
                # Claims of one queue stand in line for a moment, or two at once would serve the same owner twice.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(queue))))
            waiting = (jobs.c.queue == queue) & (jobs.c.state == "queued")
            can = [
                needs
                for needs in connection.scalars(sa.select(jobs.c.needs).where(waiting).distinct())
                if set(needs.split()) <= set(abilities)
            ]
            if not can:
                return None
            row = connection.execute(_claim(waiting & jobs.c.needs.in_(can), worker, queue, now, lease)).first()
            if row is None:
                return None
            job = transitions.job_of(row)
            _served(connection, job, now)
            transitions.tell(connection, job, now)
            return job

    def heartbeat(self, job: Job, now: float, lease: float) -> states.State:
        """Renew the lease and hear what state the job is in; raises `LeaseLost`."""
        with self.database.write() as connection:
            state = connection.execute(
                sa.update(jobs)
                .where(jobs.c.id == job.id, jobs.c.token == job.token)
                .values(lease_until=now + lease)
                .returning(jobs.c.state)
            ).scalar()
        if state is None:
            raise LeaseLost("lease_lost", "The job was taken from this worker.")
        return state

    def report(self, job: Job, now: float, phase: str, progress: float, message: str, preview: int = 0) -> Job:
        """Write how far it has come; raises `Cancelled` when it shall stop, `LeaseLost`."""
        told = partial(states.reported, phase=phase, progress=progress, message=message, preview=preview)
        return self._held(job, told, now)

    def finish(self, job: Job, now: float, outcome: Outcome, publish: Callable[[], None]) -> Job:
        """Settle a success: rows and files appear together or not at all.

        `publish` moves the staged files into place; it runs last, while the lease is proven and nobody else can get it.
        Raises `Cancelled`, `LeaseLost` and what `publish` raises; then nothing is written.
        """
        with self.database.write() as connection:
            after = transitions.held(connection, job, lambda each: states.succeeded(each, now, outcome.result), now)
            _write(connection, job, outcome, now)
            publish()
            return after

    def refuse(self, job: Job, now: float, error: PortraitError, verdicts: Verdicts | None = None) -> Job:
        """Settle a job that no further try can help: the person's photos or wishes, or this installation."""
        with self.database.write() as connection:
            after = transitions.held(
                connection, job, lambda each: states.refused(each, now, states.fault_of(error)), now
            )
            _judge(connection, job, verdicts or {})
            return after

    def falter(self, job: Job, now: float, fault: Fault, limits: Limits) -> Job:
        """Count a failure; the job is queued again or dead."""
        return self._held(job, lambda each: states.faltered(each, now, fault, limits), now)

    def release(self, job: Job, now: float) -> Job:
        """Give the job back, because the worker stops; where that was asked for, it is cancelled."""
        return self._held(job, lambda each: states.released(each, now), now)

    def take_back_lost(self, now: float, limits: Limits) -> list[Job]:
        """Jobs whose lease ran out: queued again, or dead after too many losses."""
        overdue = jobs.c.state.in_(states.HELD) & (jobs.c.lease_until < now)

        def transition(job: Job) -> Job:
            # Between the look and the lock the worker may have been heard of, or the job settled.
            if job.state not in states.HELD or (job.lease_until or 0) >= now:
                return job
            return states.lost(job, now, limits)

        return self._each(overdue, transition, now)

    def expire(self, now: float, older_than: float) -> list[Job]:
        """Queued jobs that nobody took since `older_than`."""
        late = (jobs.c.state == "queued") & (jobs.c.created < older_than)
        return self._each(late, lambda job: states.expired(job, now) if job.state == "queued" else job, now)

    def waiting(self) -> dict[str, int]:
        """How many jobs wait, by queue."""
        with self.database.read() as connection:
            chosen = (
                sa.select(jobs.c.queue, sa.func.count().label("waiting"))
                .where(jobs.c.state == "queued")
                .group_by(jobs.c.queue)
            )
            return {row.queue: row.waiting for row in connection.execute(chosen)}

    def oldest(self) -> dict[str, float]:
        """When the oldest job that waits was asked for, by queue."""
        with self.database.read() as connection:
            chosen = sa.select(jobs.c.queue, sa.func.min(jobs.c.created)).where(jobs.c.state == "queued")
            return {row[0]: row[1] for row in connection.execute(chosen.group_by(jobs.c.queue))}

    def holds(self, id: str, token: str) -> bool:
        """Whether a lease is still the job's: what was staged under any other is rubbish."""
        with self.database.read() as connection:
            return (
                connection.execute(sa.select(jobs.c.id).where(jobs.c.id == id, jobs.c.token == token)).first()
                is not None
            )

    def prune(self, older_than: float, most: int = 200) -> list[Job]:
        """Forget finished jobs that ended before `older_than` and left no portraits; their events go with them."""
        kept = sa.exists().where(portraits.c.job == jobs.c.id)
        chosen = sa.select(jobs).where(jobs.c.state.in_(states.FINISHED), jobs.c.finished < older_than, ~kept)
        with self.database.write() as connection:
            gone = [transitions.job_of(row) for row in connection.execute(chosen.limit(most))]
            connection.execute(sa.delete(jobs).where(jobs.c.id.in_([job.id for job in gone])))
        return gone

    def _held(self, job: Job, transition: transitions.Transition, now: float) -> Job:
        with self.database.write() as connection:
            return transitions.held(connection, job, transition, now)

    def _each(self, condition: sa.ColumnElement[bool], transition: transitions.Transition, now: float) -> list[Job]:
        with self.database.read() as connection:
            found = {
                row.id: row.state for row in connection.execute(sa.select(jobs.c.id, jobs.c.state).where(condition))
            }
        changed = []
        for id, state in found.items():
            try:
                with self.database.write() as connection:
                    after = transitions.anyones(connection, id, transition, now)
            except (LeaseLost, UserError):
                continue  # it moved on by itself
            if after.state != state:
                changed.append(after)
        return changed


def _claim(
    condition: sa.ColumnElement[bool], worker: str, queue: str, now: float, lease: float
) -> ReturningUpdate[Any]:
    best = (
        sa.select(jobs.c.id)
        .outerjoin(turns, (turns.c.owner == jobs.c.owner) & (turns.c.queue == queue))
        .where(condition)
        .order_by(sa.func.coalesce(turns.c.served, 0), jobs.c.priority.desc(), jobs.c.created, jobs.c.id)
        .limit(1)
        .with_for_update(of=jobs, skip_locked=True)
    )
    return (
        sa.update(jobs)
        .where(jobs.c.id == best.scalar_subquery(), jobs.c.state == "queued")
        .values(
            state="running",
            token=secrets.token_hex(16),
            worker=worker,
            lease_until=now + lease,
            started=now,
            finished=None,
        )
        .returning(jobs)
    )


def _served(connection: sa.Connection, job: Job, now: float) -> None:
    """Send the owner to the end of the line."""
    mine = (turns.c.owner == job.owner) & (turns.c.queue == job.queue)
    if connection.execute(sa.update(turns).where(mine).values(served=now)).rowcount == 0:
        connection.execute(sa.insert(turns).values(owner=job.owner, queue=job.queue, served=now))


def _write(connection: sa.Connection, job: Job, outcome: Outcome, now: float) -> None:
    for table, row in ((training_sets, outcome.training_set), (identities, outcome.identity)):
        if row is not None:
            connection.execute(sa.insert(table).values(asdict(row)))
    if outcome.portraits:
        connection.execute(sa.insert(portraits), [asdict(replace(row, job=job.id)) for row in outcome.portraits])
    _judge(connection, job, outcome.verdicts)
    if outcome.faces is not None:
        template, found = outcome.faces
        mine = (templates.c.id == template) & (templates.c.owner == job.owner)
        connection.execute(sa.update(templates).where(mine).values(faces=list(found)))
    if outcome.draft is not None:
        drafts.hear(connection, outcome.draft)
    in_job = sa.select(job_people.c.person).where(job_people.c.job == job.id)
    connection.execute(sa.update(people).where(people.c.id.in_(in_job)).values(used=now))


def _judge(connection: sa.Connection, job: Job, verdicts: Verdicts) -> None:
    for id, judged in verdicts.items():
        mine = (selfies.c.id == id) & (selfies.c.owner == job.owner)
        connection.execute(sa.update(selfies).where(mine).values(dict(judged)))
