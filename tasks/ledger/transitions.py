"""Applies a transition to a job: under its lease, with its event, and with the calls to those who wait for its end."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.jobs import FINISHED, Fault, Job, LeaseLost
from tasks.ledger.database import new_id
from tasks.ledger.rows import one
from tasks.ledger.tables import job_events, jobs, webhook_deliveries, webhooks

Transition = Callable[[Job], Job]


def job_of(row: sa.Row[Any]) -> Job:
    """A row of `jobs` as its value."""
    values = dict(row._mapping)
    values["needs"] = frozenset(values["needs"].split())
    values["fault"] = Fault(**values["fault"]) if values["fault"] else None
    return Job(**values)


def values_of(job: Job) -> dict[str, Any]:
    """A job as a row of `jobs`."""
    values = {each.name: getattr(job, each.name) for each in fields(job)}
    values["needs"] = " ".join(sorted(job.needs))
    values["fault"] = None if job.fault is None else asdict(job.fault)
    values["message"] = job.message[:400]
    return values


def owned(connection: sa.Connection, owner: str, id: str, transition: Transition, now: float) -> Job:
    """Change a job because its owner asks; raises `not_found`, `erased`, and what the transition raises."""
    one(connection, jobs, owner, id)
    return _change(connection, id, transition, now)


def held(connection: sa.Connection, job: Job, transition: Transition, now: float) -> Job:
    """Change a job under its lease; raises `LeaseLost` when that is over."""
    return _change(connection, job.id, transition, now, token=job.token or "")


def anyones(connection: sa.Connection, id: str, transition: Transition, now: float) -> Job:
    """Change a job whoever owns it: for operators and the keeper."""
    return _change(connection, id, transition, now)


def tell(connection: sa.Connection, job: Job, now: float, kind: str = "state") -> None:
    """Write the event, and on an end the calls that its owner asked for."""
    data = {"phase": job.phase, "progress": round(job.progress, 4), "message": job.message, "preview": job.preview}
    if job.fault is not None:
        data["fault"] = {"code": job.fault.code, "message": job.fault.message}
    connection.execute(sa.insert(job_events).values(job=job.id, at=now, kind=kind, state=job.state, data=data))
    if kind == "state" and job.state in FINISHED:
        _call(connection, job, now)


def _change(connection: sa.Connection, id: str, transition: Transition, now: float, token: str | None = None) -> Job:
    row = connection.execute(sa.select(jobs).where(jobs.c.id == id).with_for_update()).first()
    if row is None or (token is not None and row.token != token):
        if token is None:
            raise UserError("not_found", f"There is no job {id[:64]!r}.")
        raise LeaseLost("lease_lost", "The job was taken from this worker.")
    before = job_of(row)
    after = transition(before)
    if after == before:
        return after
    old, new = values_of(before), values_of(after)
    changed: Mapping[str, Any] = {name: value for name, value in new.items() if value != old[name]}
    # The row was read under a lock; the lease stands in the condition all the same, so that no path can write past it.
    condition = jobs.c.token == before.token if before.token else jobs.c.token.is_(None)
    result = connection.execute(sa.update(jobs).where(jobs.c.id == id, condition).values(changed))
    if result.rowcount != 1:
        raise LeaseLost("lease_lost", "The job was taken from this worker.")
    tell(connection, after, now, "progress" if after.state == before.state else "state")
    return after


def payload(event: str, data: Mapping[str, Any], now: float) -> dict[str, Any]:
    """What a call says, as Standard Webhooks wants it: thin, with its time in ISO 8601."""
    return {"type": event, "timestamp": datetime.fromtimestamp(now, UTC).isoformat(), "data": dict(data)}


def _call(connection: sa.Connection, job: Job, now: float) -> None:
    """Put a call into the ledger for each webhook that listens; it is sent when this transaction has succeeded."""
    event = f"job.{job.state}"
    chosen = sa.select(webhooks.c.id, webhooks.c.events).where(
        webhooks.c.owner == job.owner, webhooks.c.disabled.is_(None)
    )
    rows = [
        {
            "id": new_id("delivery", now),
            "owner": job.owner,
            "webhook": each.id,
            "event": event,
            "payload": payload(event, {"id": job.id, "kind": job.kind, "state": job.state}, now),
            "state": "waiting",
            "attempts": 0,
            "due": now,
            "answer": "",
            "created": now,
        }
        for each in connection.execute(chosen)
        if not each.events or event in each.events
    ]
    if rows:
        connection.execute(sa.insert(webhook_deliveries), rows)
