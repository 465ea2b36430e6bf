"""Erases training sets that later ones have replaced and nothing refers to: each judging of photos makes another one."""

from collections.abc import Sequence

import sqlalchemy as sa

from tasks.jobs import DAY
from tasks.ledger.database import Database
from tasks.ledger.privacy.erasures import ErasureRepository, ErasureRow, Request
from tasks.ledger.rows import TrainingSetRow, row_as
from tasks.ledger.tables import identities, job_people, jobs, portraits, training_sets

NEWEST = 2
"""The newest sets of a person, which are kept whatever refers to them: the one that is drawn from, and the one before."""


def find_replaced_sets(database: Database, now: float) -> Sequence[TrainingSetRow]:
    """Return the sets that can be erased, the oldest first; none that was made today."""
    others = training_sets.alias()
    newer = sa.select(sa.func.count()).where(
        others.c.person == training_sets.c.person, others.c.id > training_sets.c.id
    )
    many = sa.select(others.c.person).group_by(others.c.person).having(sa.func.count() > NEWEST)
    chosen = sa.select(training_sets).where(
        training_sets.c.person.in_(many), newer.scalar_subquery() >= NEWEST, training_sets.c.created < now - DAY
    )
    with database.read() as connection:
        rows = [row_as(TrainingSetRow, row) for row in connection.execute(chosen.order_by(training_sets.c.id))]
        return [row for row in rows if not _is_referred_to(connection, row)]


def erase_replaced_set(database: Database, row: TrainingSetRow, now: float) -> ErasureRow | None:
    """Erase one in a transaction in which still nothing refers to it, else None; raises `UserError` where it is gone."""
    with database.write() as connection:
        database.lock_owner(connection, row.owner)
        if _is_referred_to(connection, row):
            return None
        return ErasureRepository(database).erase_training_set(Request(row.owner, now), row.id, connection)


def _is_referred_to(connection: sa.Connection, row: TrainingSetRow) -> bool:
    """Whether a LoRA was learned from it, or a job names it that has portraits, has not ended, or may be tried again."""
    made = connection.execute(
        sa.select(identities.c.id, identities.c.base).where(identities.c.training_set == row.id)
    ).all()
    if any(each.base for each in made):
        return True
    wants = sa.cast(jobs.c.wants, sa.Text)
    names = sa.or_(*(wants.contains(id, autoescape=True) for id in (row.id, *(each.id for each in made))))
    drawn = sa.exists().where(portraits.c.job == jobs.c.id)
    of_person = (
        sa.select(jobs.c.id).join(job_people, job_people.c.job == jobs.c.id).where(job_people.c.person == row.person)
    )
    named = of_person.where(names, drawn | (jobs.c.state != "succeeded")).limit(1)
    return connection.scalar(named) is not None
