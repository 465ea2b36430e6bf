"""The worker's side of the queue: claim, heartbeat, report, finish or fail; and the keeper's: requeue, expire, prune.

A claim is one conditional update that hands out a lease token. Every later write names the token, so that a worker that was
taken for dead writes nothing, however late it wakes.
"""

import json
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
from tasks.ledger import styles, transitions
from tasks.ledger.privacy import ages
from tasks.ledger.privacy.consents import persons_in, require_consent
from tasks.ledger.rows import DraftFindings, IdentityRow, PortraitRow, Repository, TrainingSetRow, row_as
from tasks.ledger.tables import (
    identities,
    job_people,
    jobs,
    metadata,
    people,
    portraits,
    selfies,
    templates,
    training_sets,
    turns,
)

Verdicts: TypeAlias = Mapping[str, Mapping[str, Any]]
"""By selfie: verdict, reasons, quality, uses."""
_QUEUE_LOCKS = 1
"""First of the two keys of a queue's advisory lock: those of owners have one key, and may be called as a queue is."""

# The oldest of the jobs of one kind of need, priority and owner that wait: written by triggers (migration 0019).
waiting = sa.Table(
    "waiting",
    metadata,
    sa.Column("queue", sa.String(20), primary_key=True),
    sa.Column("needs", sa.String(400), primary_key=True),
    sa.Column("priority", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.String(64), primary_key=True),
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("job", sa.String(64), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The rows that a finished job writes into the ledger."""

    result: Mapping[str, Any] = field(default_factory=dict)
    portraits: Sequence[PortraitRow] = ()
    """Portraits that appear when the job ends."""
    ranking: Sequence[str] | None = None
    """Ids of the portraits that were delivered while it ran and are kept, the best first; None without any of these."""
    training_set: TrainingSetRow | None = None
    identity: IdentityRow | None = None
    verdicts: Verdicts = field(default_factory=dict)
    asks_guardian: bool | None = None
    """Whether the photos of a training set ask for a guardian; see `tasks.ledger.privacy.ages`."""
    faces: tuple[str, Sequence[Mapping[str, float]]] | None = None
    """A template's id and the boxes of its faces."""
    draft: DraftFindings | None = None


class JobQueue(Repository):
    """Jobs as workers and the keeper see them."""

    def claim(
        self, worker: str, queue: str, abilities: Collection[str], now: float, lease: float, base: str = ""
    ) -> Job | None:
        """Claim the next job that this worker can do, or None: by priority, then of the owner served longest ago the oldest.

        Within a priority jobs of the `base` that the worker prefers come first.
        """
        with self.database.write() as connection:
            if not self.database.sqlite:
                # Claims of one queue take turns, or two at once would serve the same owner twice.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_QUEUE_LOCKS, sa.func.hashtext(queue))))
            needs = connection.scalars(_NEEDS, {"queue": queue})
            claimable = [each for each in needs if set(each.split()) <= set(abilities)]
            if not claimable:
                return None
            preferred = [each for each in claimable if base and states.base_of(each.split()) == base]
            take = partial(_claim, preferred=preferred, worker=worker, queue=queue, now=now, lease=lease)
            claimable_jobs = (jobs.c.queue == queue) & _QUEUED & jobs.c.needs.in_(claimable)
            line = {"queue": queue, "needs": claimable, "preferred": preferred}
            while (row := _take_first(connection, claimable_jobs, line, take)) is not None:
                job = transitions.job_from_row(row)
                if _stop_without_consent(connection, job, now):
                    continue
                _end_turn(connection, job, now)
                transitions.record_event(connection, job, now)
                return job
            return None

    def heartbeat(self, job: Job, now: float, lease: float) -> states.JobState:
        """Renew the lease and return the job's state; raises `LeaseLost`."""
        renewed = sa.update(jobs).where(jobs.c.id == job.id, jobs.c.token == job.token).values(lease_until=now + lease)
        with self.database.write() as connection:
            state = connection.scalar(renewed.returning(jobs.c.state))
        if state is None:
            raise LeaseLost("lease_lost", "The job was taken from this worker.")
        return state

    def report(self, job: Job, now: float, phase: str, progress: float, message: str, preview: int = 0) -> Job:
        """Write the job's progress; raises `Cancelled` when it is to stop, `LeaseLost`."""
        transition = partial(states.report_progress, phase=phase, progress=progress, message=message, preview=preview)
        return self._change_leased(job, transition, now)

    def deliver(self, job: Job, now: float, row: PortraitRow, publish: Callable[[PortraitRow], None]) -> PortraitRow:
        """Write a finished portrait of a running job: its row and its file appear together or not at all.

        It gets the next number, and a file's name that no other of the job has. One of the same recipe, which an earlier run
        delivered, stays as it is: then that one is returned and nothing is published. `publish` moves the staged file to the
        place of the row that it is given; it runs last, while the lease is proven. A process that dies after it and before the
        commit leaves a file without a row: see `portrait_files`. Raises `Cancelled`, `LeaseLost`, `UserError` where consent
        does not hold any more, and what `publish` raises; then nothing is written.
        """
        with self.database.write() as connection:
            transitions.require_lease(connection, job)
            require_consent(connection, job.owner, persons_in(connection, job), lock=False)
            mine = sa.select(portraits).where(portraits.c.job == job.id)
            earlier = [row_as(PortraitRow, each) for each in connection.execute(mine)]
            same = next((each for each in earlier if _canonical(each.recipe) == _canonical(row.recipe)), None)
            if same is not None:
                return same
            row = _place(row, earlier)
            connection.execute(sa.insert(portraits).values(asdict(replace(row, job=job.id))))
            in_job = sa.select(job_people.c.person).where(job_people.c.job == job.id)
            connection.execute(sa.update(people).where(people.c.id.in_(in_job)).values(used=now))
            publish(row)
        return row

    def portrait_files(self, id: str) -> set[str] | None:
        """Names of the files of a job's portraits: what else lies in its folder may be erased; None while a worker has it."""
        with self.database.read() as connection:
            state = connection.scalar(sa.select(jobs.c.state).where(jobs.c.id == id))
            if state in states.LEASED:
                return None
            return set(connection.scalars(sa.select(portraits.c.file).where(portraits.c.job == id)))

    def finish(self, job: Job, now: float, outcome: Outcome, publish: Callable[[], None]) -> Job:
        """End a job with success: its rows and files appear together or not at all.

        `publish` moves the staged files into place; it runs last, while the lease is proven and nobody else can get it.
        Raises `Cancelled`, `LeaseLost`, `UserError` where consent does not hold any more, and what `publish` raises; then
        nothing is written.
        """
        with self.database.write() as connection:
            transition = partial(states.succeed, now=now, result=outcome.result)
            after = transitions.change_leased(connection, job, transition, now)
            require_consent(connection, job.owner, persons_in(connection, job), lock=False)
            _insert_outcome(connection, job, outcome, now)
            publish()
            return after

    def fail(self, job: Job, now: float, error: PortraitError, verdicts: Verdicts | None = None) -> Job:
        """End a job that another try cannot help, because of the person's photos or order or of this installation."""
        with self.database.write() as connection:
            transition = partial(states.fail, now=now, fault=states.fault_from(error))
            after = transitions.change_leased(connection, job, transition, now)
            _write_verdicts(connection, job, verdicts or {})
            return after

    def retry_or_fail(self, job: Job, now: float, fault: Fault, limits: Limits) -> Job:
        """Count a failure; the job is queued again or fails for good."""
        return self._change_leased(job, lambda each: states.retry_or_fail(each, now, fault, limits), now)

    def requeue_dead(self, prefix: str, alive: Callable[[str], bool], now: float, limits: Limits) -> list[Job]:
        """Count a failure of each job whose process of this worker is dead; returns the changed jobs.

        `prefix` is that of the ids of a worker's processes, and `alive` says of such an id whether its process runs.
        """
        held = jobs.c.state.in_(states.LEASED) & jobs.c.worker.startswith(prefix, autoescape=True)

        def transition(job: Job) -> Job:
            if job.state not in states.LEASED or not (job.worker or "").startswith(prefix) or alive(job.worker or ""):
                return job
            return states.retry_or_fail(job, now, states.worker_died(job.failures + 1), limits)

        return self._change_each(held, transition, now)

    def set_priority(self, id: str, priority: int, now: float) -> Job:
        """Set the priority of a job that has not ended, for operators; raises `UserError` (`not_found`, `bad_transition`)."""
        with self.database.write() as connection:
            return transitions.change_any(connection, id, partial(states.set_priority, priority=priority), now)

    def release(self, job: Job, now: float) -> Job:
        """Give the job back because the worker stops; a `cancelling` job is cancelled by this."""
        return self._change_leased(job, lambda each: states.release(each, now), now)

    def requeue_expired(self, now: float, limits: Limits) -> list[Job]:
        """Queue the jobs whose lease expired again, or fail them after too many losses; returns the changed jobs."""
        overdue = jobs.c.state.in_(states.LEASED) & (jobs.c.lease_until < now)

        def transition(job: Job) -> Job:
            # Between the query and the lock the worker may have renewed the lease, or the job ended.
            if job.state not in states.LEASED or (job.lease_until or 0) >= now:
                return job
            return states.requeue_expired(job, now, limits)

        return self._change_each(overdue, transition, now)

    def expire(self, now: float, older_than: float) -> list[Job]:
        """End the queued jobs that were created before `older_than`; returns them."""
        late = _QUEUED & (jobs.c.created < older_than)
        return self._change_each(late, lambda job: states.expire(job, now) if job.state == "queued" else job, now)

    def count_waiting(self) -> dict[str, int]:
        """Count the queued jobs by queue."""
        counted = sa.select(jobs.c.queue, sa.func.count()).where(_QUEUED).group_by(jobs.c.queue)
        with self.database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(counted)}

    def oldest_waiting(self) -> dict[str, float]:
        """Return when the oldest queued job of each queue was created."""
        oldest = sa.select(waiting.c.queue, sa.func.min(waiting.c.since)).group_by(waiting.c.queue)
        with self.database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(oldest)}

    def waits_since(self, queue: str, abilities: Collection[str]) -> float | None:
        """Return when the oldest queued job of a queue was created that a worker with these abilities can do, or None."""
        oldest = sa.select(waiting.c.needs, sa.func.min(waiting.c.since)).where(waiting.c.queue == queue)
        with self.database.read() as connection:
            rows = connection.execute(oldest.group_by(waiting.c.needs)).all()
        return min((since for needs, since in rows if set(needs.split()) <= set(abilities)), default=None)

    def is_leased(self, id: str, token: str) -> bool:
        """Whether a lease token is still the job's; files staged under any other token may be removed."""
        with self.database.read() as connection:
            return bool(connection.scalar(sa.select(sa.exists().where(jobs.c.id == id, jobs.c.token == token))))

    def prune(self, older_than: float, most: int = 200) -> list[Job]:
        """Delete up to `most` jobs that ended before `older_than` and have no portraits, with their events; returns them."""
        has_portraits = sa.exists().where(portraits.c.job == jobs.c.id)
        chosen = sa.select(jobs).where(jobs.c.state.in_(states.FINISHED), jobs.c.finished < older_than, ~has_portraits)
        with self.database.write() as connection:
            pruned = [transitions.job_from_row(row) for row in connection.execute(chosen.limit(most))]
            connection.execute(sa.delete(jobs).where(jobs.c.id.in_([job.id for job in pruned])))
        return pruned

    def _change_leased(self, job: Job, transition: transitions.Transition, now: float) -> Job:
        with self.database.write() as connection:
            return transitions.change_leased(connection, job, transition, now)

    def _change_each(
        self, condition: sa.ColumnElement[bool], transition: transitions.Transition, now: float
    ) -> list[Job]:
        with self.database.read() as connection:
            found = connection.execute(sa.select(jobs.c.id, jobs.c.state).where(condition)).all()
        changed = []
        for id, state in found:
            try:
                with self.database.write() as connection:
                    after = transitions.change_any(connection, id, transition, now)
            except (LeaseLost, UserError):
                continue  # the job changed meanwhile
            if after.state != state:
                changed.append(after)
        return changed


def _take_first(
    connection: sa.Connection,
    condition: sa.ColumnElement[bool],
    line: Mapping[str, Any],
    take: Callable[[sa.ColumnElement[bool]], ReturningUpdate[Any]],
) -> sa.Row[Any] | None:
    """Claim the first of the waiting jobs that fulfil a condition, or None; `line` are the parameters of `_FIRST`."""
    first = connection.scalar(_FIRST, line)
    if first is None:
        return None
    row = connection.execute(take(condition & (jobs.c.id == first))).first()
    # Somebody may hold that one just now, to cancel it.
    return row if row is not None else connection.execute(take(condition)).first()


def _others(needs: sa.ColumnElement[str], preferred: Any) -> sa.ColumnElement[int]:
    """1 for the needs that are not preferred."""
    return sa.case((needs.in_(preferred), 0), else_=1)


def _first_in_line() -> sa.Select[str]:
    """Select the job whose turn it is in a queue, of those with some needs."""
    queue, needs, preferred = (
        sa.bindparam("queue"),
        sa.bindparam("needs", expanding=True),
        sa.bindparam("preferred", expanding=True),
    )
    order = (waiting.c.priority.desc(), _others(waiting.c.needs, preferred), sa.func.coalesce(turns.c.served, 0))
    chosen = sa.select(waiting.c.job).outerjoin(turns, (turns.c.owner == waiting.c.owner) & (turns.c.queue == queue))
    chosen = chosen.where(waiting.c.queue == queue, waiting.c.needs.in_(needs))
    return chosen.order_by(*order, waiting.c.since, waiting.c.job).limit(1)


# Made once: to put a statement together takes longer than to have it answered. That a job waits is written out: PostgreSQL
# takes its index of what waits only where no value says so.
_QUEUED = jobs.c.state == sa.literal_column("'queued'")
_NEEDS = sa.select(waiting.c.needs).where(waiting.c.queue == sa.bindparam("queue")).distinct()
_FIRST = _first_in_line()


def _claim(
    condition: sa.ColumnElement[bool], preferred: Sequence[str], worker: str, queue: str, now: float, lease: float
) -> ReturningUpdate[Any]:
    """The claim of the first of the waiting jobs that fulfil a condition; `preferred` are the needs of those that go before."""
    others = _others(jobs.c.needs, preferred)
    best = (
        sa.select(jobs.c.id)
        .outerjoin(turns, (turns.c.owner == jobs.c.owner) & (turns.c.queue == queue))
        .where(condition)
        .order_by(jobs.c.priority.desc(), others, sa.func.coalesce(turns.c.served, 0), jobs.c.created, jobs.c.id)
        .limit(1)
        .with_for_update(of=jobs, skip_locked=True)
    )
    values = {"token": secrets.token_hex(16), "worker": worker, "lease_until": now + lease, "started": now}
    claimed = sa.update(jobs).where(jobs.c.id == best.scalar_subquery(), _QUEUED)
    return claimed.values(values | {"state": "running", "finished": None}).returning(jobs)


def _stop_without_consent(connection: sa.Connection, job: Job, now: float) -> bool:
    """Cancel a job whose people have not agreed, or not to the present text; False where they have."""
    try:
        require_consent(connection, job.owner, persons_in(connection, job), lock=False)
    except UserError as error:
        transitions.change_leased(connection, job, partial(states.refuse, now=now, fault=states.fault_from(error)), now)
        return True
    return False


def _end_turn(connection: sa.Connection, job: Job, now: float) -> None:
    """Note that the owner was served, so that the other owners come first."""
    mine = (turns.c.owner == job.owner) & (turns.c.queue == job.queue)
    if connection.execute(sa.update(turns).where(mine).values(served=now)).rowcount == 0:
        connection.execute(sa.insert(turns).values(owner=job.owner, queue=job.queue, served=now))


def _insert_outcome(connection: sa.Connection, job: Job, outcome: Outcome, now: float) -> None:
    for table, row in ((training_sets, outcome.training_set), (identities, outcome.identity)):
        if row is not None:
            connection.execute(sa.insert(table).values(asdict(row)))
    if outcome.training_set is not None:
        ages.note_answer(connection, outcome.training_set.person, outcome.asks_guardian)
    if outcome.ranking is not None:
        dropped = (portraits.c.job == job.id) & portraits.c.id.not_in(outcome.ranking)
        connection.execute(sa.delete(portraits).where(dropped))
        transitions.number_portraits(connection, job.id, outcome.ranking, now)
    if outcome.portraits:
        connection.execute(sa.insert(portraits), [asdict(replace(row, job=job.id)) for row in outcome.portraits])
    _write_verdicts(connection, job, outcome.verdicts)
    if outcome.faces is not None:
        template, found = outcome.faces
        mine = (templates.c.id == template) & (templates.c.owner == job.owner)
        connection.execute(sa.update(templates).where(mine).values(faces=list(found)))
    if outcome.draft is not None:
        styles.record_findings(connection, outcome.draft)
    in_job = sa.select(job_people.c.person).where(job_people.c.job == job.id)
    connection.execute(sa.update(people).where(people.c.id.in_(in_job)).values(used=now))


def _canonical(recipe: Mapping[str, Any]) -> str:
    """What a recipe asks for as text, the same before it was stored and after; without what was measured in drawing it."""
    return json.dumps({name: value for name, value in recipe.items() if name != "drawn"}, sort_keys=True)


def _place(row: PortraitRow, earlier: Sequence[PortraitRow]) -> PortraitRow:
    """The row with a number and a file's name that none of the job's earlier portraits has."""
    number = max((each.number for each in earlier), default=0) + 1
    taken = {each.file.partition(".")[0] for each in earlier}
    name = next(f"{at:02}" for at in range(number, number + len(earlier) + 1) if f"{at:02}" not in taken)
    return replace(row, number=number, file=f"{name}.{row.format}")


def _write_verdicts(connection: sa.Connection, job: Job, verdicts: Verdicts) -> None:
    for id, judged in verdicts.items():
        mine = (selfies.c.id == id) & (selfies.c.owner == job.owner)
        connection.execute(sa.update(selfies).where(mine).values(dict(judged)))
