"""Applies a transition to a job's row: checks the lease, writes the event, and enqueues the webhooks of its end.

A job that ends without success keeps the portraits that it had finished.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from portrait.errors import Cancelled, UserError
from tasks.jobs import FINISHED, Fault, Job, LeaseLost
from tasks.ledger import usage
from tasks.ledger.database import new_id
from tasks.ledger.rows import DeliveryRow, get_owned
from tasks.ledger.tables import job_events, jobs, portraits, webhook_deliveries, webhooks
from tasks.telemetry import metrics

_ADD_EVENT = sa.insert(job_events)
Transition = Callable[[Job], Job]


def job_from_row(row: sa.Row[Any]) -> Job:
    """Convert a row of `jobs` into its value."""
    values = row._asdict()
    values["params"] = values.pop("wants")
    values["needs"] = frozenset(values["needs"].split())
    values["fault"] = Fault(**values["fault"]) if values["fault"] else None
    return Job(**values)


def job_to_values(job: Job) -> dict[str, Any]:
    """Convert a job into the values of its row."""
    values = {each.name: getattr(job, each.name) for each in fields(job)}
    values["wants"] = values.pop("params")
    values["needs"] = " ".join(sorted(job.needs))
    values["fault"] = None if job.fault is None else asdict(job.fault)
    values["message"] = job.message[:400]
    return values


def change_owned(connection: sa.Connection, owner: str, id: str, transition: Transition, now: float) -> Job:
    """Change a job on its owner's behalf; raises `not_found`, `erased`, and what the transition raises."""
    get_owned(connection, jobs, owner, id)
    return _change(connection, id, transition, now)


def change_leased(connection: sa.Connection, job: Job, transition: Transition, now: float) -> Job:
    """Change a job under its lease; raises `LeaseLost` when the lease is over."""
    return _change(connection, job.id, transition, now, token=job.token or "")


def change_any(connection: sa.Connection, id: str, transition: Transition, now: float) -> Job:
    """Change a job of any owner: for operators and the keeper."""
    return _change(connection, id, transition, now)


def require_lease(connection: sa.Connection, job: Job) -> None:
    """Check, and lock until the transaction ends, that a worker may deliver for a job; raises `LeaseLost`, `Cancelled`."""
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job.id).with_for_update()).first()
    if row is None or row.token != job.token:
        raise LeaseLost("lease_lost", "The job was taken from this worker.")
    if row.state == "cancelling":
        raise Cancelled


def number_portraits(connection: sa.Connection, job: str, ids: Sequence[str], now: float) -> None:
    """Number portraits of a job that ends now in this order, from 1; they sort as made together."""
    mine = sa.update(portraits).where(portraits.c.job == job)
    # A number is there once a job: first all make way.
    connection.execute(mine.values(number=-portraits.c.number, created=now))
    for number, id in enumerate(ids, 1):
        connection.execute(mine.where(portraits.c.id == id).values(number=number))


def record_event(connection: sa.Connection, job: Job, now: float, kind: str = "state") -> None:
    """Insert the job's event, and when the job has ended the deliveries to its owner's webhooks."""
    data: dict[str, Any] = {
        "phase": job.phase,
        "progress": round(job.progress, 4),
        "message": job.message,
        "preview": job.preview,
    }
    if job.fault is not None:
        data["fault"] = {"code": job.fault.code, "message": job.fault.message}
    connection.execute(_ADD_EVENT, {"job": job.id, "at": now, "kind": kind, "state": job.state, "data": data})
    if kind == "state" and job.state in FINISHED:
        _enqueue_webhooks(connection, job, now)


def _change(connection: sa.Connection, id: str, transition: Transition, now: float, token: str | None = None) -> Job:
    row = connection.execute(sa.select(jobs).where(jobs.c.id == id).with_for_update()).first()
    if row is None or (token is not None and row.token != token):
        if token is None:
            raise UserError("not_found", f"There is no job {id[:64]!r}.")
        raise LeaseLost("lease_lost", "The job was taken from this worker.")
    before = job_from_row(row)
    after = transition(before)
    if after == before:
        return after
    if after.state in FINISHED - {"succeeded"} and before.state not in FINISHED:
        after = _keep_portraits(connection, after, now)
    old, new = job_to_values(before), job_to_values(after)
    changed: Mapping[str, Any] = {name: value for name, value in new.items() if value != old[name]}
    # The row was read under a lock; the lease stands in the condition all the same, so that no path can write past it.
    condition = jobs.c.token == before.token if before.token else jobs.c.token.is_(None)
    result = connection.execute(sa.update(jobs).where(jobs.c.id == id, condition).values(changed))
    if result.rowcount != 1:
        raise LeaseLost("lease_lost", "The job was taken from this worker.")
    usage.settle(connection, before, after, now)
    record_event(connection, after, now, "progress" if after.state == before.state else "state")
    if after.state != before.state or after.losses != before.losses:
        # Not what is rolled back.
        event.listen(connection, "commit", lambda _: metrics.job_changed(before, after, now))
    return after


def _keep_portraits(connection: sa.Connection, job: Job, now: float) -> Job:
    """Number the portraits that a job had finished, the best first, and name them in its result."""
    rows = connection.execute(sa.select(portraits).where(portraits.c.job == job.id).order_by(portraits.c.number)).all()
    if not rows:
        return job
    ranked = sorted(rows, key=lambda row: (row.scores.get("rules_broken", 0.0), -row.scores.get("total", 0.0)))
    ids = [row.id for row in ranked]
    number_portraits(connection, job.id, ids, now)
    return replace(job, result={"portraits": ids})


def webhook_payload(event: str, data: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Build the payload of a delivery by Standard Webhooks: type, ISO 8601 timestamp, thin data."""
    return {"type": event, "timestamp": datetime.fromtimestamp(now, UTC).isoformat(), "data": dict(data)}


def _enqueue_webhooks(connection: sa.Connection, job: Job, now: float) -> None:
    """Insert a delivery for each webhook that subscribes to the event; it is sent after this transaction."""
    event = f"job.{job.state}"
    payload = webhook_payload(event, {"id": job.id, "kind": job.kind, "state": job.state}, now)
    chosen = sa.select(webhooks.c.id, webhooks.c.events)
    rows = [
        asdict(DeliveryRow(new_id("delivery", now), job.owner, each.id, event, payload, "waiting", 0, now, now))
        for each in connection.execute(chosen.where(webhooks.c.owner == job.owner, webhooks.c.disabled.is_(None)))
        if not each.events or event in each.events
    ]
    if rows:
        connection.execute(sa.insert(webhook_deliveries), rows)
