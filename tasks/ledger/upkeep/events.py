"""Keeps the events of jobs few: what is of use while a job runs is deleted soon after it has ended."""

import sqlalchemy as sa

from tasks.jobs import FINISHED
from tasks.ledger.database import Database
from tasks.ledger.tables import job_events, jobs

AFTER_END = 600.0
"""Seconds after a job's end for which its progress can still be read: a stream that was cut off goes on where it stopped."""
MOST_RUNNING = 2000
"""The newest events of progress that a running job keeps: about 17 minutes at two a second."""
BATCH = 200
"""Jobs whose events are deleted in one transaction."""
_progress = job_events.c.kind == "progress"


def thin_events(database: Database, now: float, since: float = 0.0) -> int:
    """Delete the progress of jobs that ended after `since`, and the oldest of those that run; returns how many events.

    What happened to a job, its `state` events, stays for as long as the job.
    """
    return _thin_ended(database, since, now - AFTER_END) + _thin_running(database)


def _thin_ended(database: Database, since: float, until: float) -> int:
    has_progress = sa.exists().where(job_events.c.job == jobs.c.id, _progress)
    ended = jobs.c.state.in_(FINISHED) & (jobs.c.finished > since) & (jobs.c.finished <= until)
    chosen, count = sa.select(jobs.c.id).where(ended, has_progress).limit(BATCH), 0
    while True:
        with database.write() as connection:
            ids = connection.scalars(chosen).all()
            count += connection.execute(sa.delete(job_events).where(job_events.c.job.in_(ids), _progress)).rowcount
        if len(ids) < BATCH:
            return count


def _thin_running(database: Database) -> int:
    many = sa.select(job_events.c.job).join(jobs, jobs.c.id == job_events.c.job)
    many = many.where(jobs.c.state.not_in(FINISHED), _progress)
    many = many.group_by(job_events.c.job).having(sa.func.count() > MOST_RUNNING)
    with database.read() as connection:
        ids = connection.scalars(many).all()
    count = 0
    for id in ids:
        mine = sa.select(job_events.c.id).where(job_events.c.job == id, _progress)
        oldest_kept = mine.order_by(job_events.c.id.desc()).offset(MOST_RUNNING - 1).limit(1).scalar_subquery()
        old = sa.delete(job_events).where(job_events.c.job == id, _progress, job_events.c.id < oldest_kept)
        with database.write() as connection:
            count += connection.execute(old).rowcount
    return count
