"""Retention by use: what was used when, whose owner was warned, and what is due to be erased.

People with favourites, and pictures that somebody was drawn into, do not go before their owner was warned for some days: see
`tasks.settings.RetentionSettings`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from tasks.jobs import DAY, FINISHED, Job
from tasks.ledger.rows import PersonRow, PortraitRow, Repository, TemplateRow, row_as
from tasks.ledger.tables import job_people, jobs, people, portraits, templates
from tasks.settings import RetentionSettings

USE_INTERVAL = 3600.0
"""Seconds within which another use is not written: looking at many pictures is not many writes."""

T = TypeVar("T")
_USE_PEOPLE = sa.update(people).where(people.c.id.in_(sa.bindparam("of_persons", expanding=True)))
_USE_PEOPLE = _USE_PEOPLE.values(used=sa.bindparam("now"))


@dataclass(frozen=True, slots=True)
class Due:
    """When something is erased unless it is used before."""

    on: float
    soon: bool = False
    """Whether that is near enough for its owner to be warned."""


def due_on(used: float, warned: float | None, days: float, kept: RetentionSettings, now: float) -> Due:
    """When something is due that its owner must be warned of: `warned` is when they were; before `used` it does not count."""
    end, warning = used + days * DAY, kept.warning_days * DAY
    if now < end - warning:
        return Due(end)
    since = warned if warned is not None and warned > used else now
    return Due(min(max(end, since + warning), max(end, used + kept.unseen_days * DAY)), soon=True)


def person_due(person: PersonRow, favourites: bool, kept: RetentionSettings, now: float) -> Due:
    """When a person with everything of theirs is due."""
    days = kept.people_days or 0.0
    if favourites:
        return due_on(person.used, person.warned, days, kept, now)
    end = person.used + days * DAY
    return Due(end, now >= end - kept.warning_days * DAY)


def template_due(template: TemplateRow, kept: RetentionSettings, now: float) -> Due:
    """When an uploaded picture is due; its owner is warned of one that was used since its upload."""
    days = kept.templates_days or 0.0
    if template.used is not None:
        return due_on(template.used, template.warned, days, kept, now)
    end = template.created + days * DAY
    return Due(end, now >= end - kept.warning_days * DAY)


def use_in_job(connection: sa.Connection, job: Job, persons: Collection[str], now: float) -> None:
    """Note that a job uses people and uploaded pictures."""
    if persons:
        connection.execute(_USE_PEOPLE, {"of_persons": sorted(set(persons)), "now": now})
    named = templates_in(job.params)
    if named and job.kind != "look":
        mine = (templates.c.owner == job.owner) & templates.c.id.in_(named)
        connection.execute(sa.update(templates).where(mine).values(used=now))


def templates_in(params: Mapping[str, Any]) -> set[str]:
    """Ids of the uploaded pictures that a job names: its template, what the drawing follows, what goes with an edit."""
    if not any(params.get(name) for name in ("template", "technique", "edit")):
        return set()
    technique, edit = (dict(params.get(name) or {}) for name in ("technique", "edit"))
    followed = [*(technique.get("hints") or ()), technique.get("look") or {}]
    named = [params.get("template"), *(dict(each).get("template") for each in followed), *(edit.get("with") or ())]
    return {str(each) for each in named if each}


class RetentionRepository(Repository):
    """When things were last used, and which are due."""

    def use_portraits(self, owner: str, rows: Sequence[PortraitRow], now: float) -> None:
        """Note that portraits were looked at, downloaded or marked: a use of them and of the people on them."""
        ids, of_jobs = [row.id for row in rows], {row.job for row in rows}
        in_jobs = sa.select(job_people.c.person).where(job_people.c.job.in_(of_jobs))
        mine = (portraits.c.owner == owner) & portraits.c.id.in_(ids)
        self._use(portraits, mine, now)
        self._use(people, (people.c.owner == owner) & people.c.id.in_(in_jobs), now)

    def use_person(self, owner: str, id: str, now: float) -> None:
        """Note that a person's photos were looked at."""
        self._use(people, (people.c.owner == owner) & (people.c.id == id), now)

    def use_template(self, owner: str, id: str, now: float) -> None:
        """Note that an uploaded picture was looked at."""
        self._use(templates, (templates.c.owner == owner) & (templates.c.id == id), now)

    def use_everything(self, owner: str, now: float) -> None:
        """Note that an owner took everything home."""
        for table in (people, portraits, templates):
            self._use(table, table.c.owner == owner, now)

    def keep_person(self, owner: str, id: str, now: float) -> None:
        """Note a use of a person at once, because somebody asked to keep what is theirs."""
        self._write(sa.update(people).where(people.c.owner == owner, people.c.id == id).values(used=now))

    def portraits_due(
        self, owner: str, rows: Sequence[PortraitRow], kept: RetentionSettings, now: float
    ) -> Mapping[str, Due]:
        """When portraits are due, by id; with the first person on them, unless portraits have days of their own."""
        if not rows:
            return {}
        with self.database.read() as connection:
            pairs = sa.select(job_people).where(job_people.c.job.in_({row.job for row in rows}))
            of_job: dict[str, list[str]] = {}
            for pair in connection.execute(pairs):
                of_job.setdefault(pair.job, []).append(pair.person)
            persons = {each for some in of_job.values() for each in some}
            chosen = sa.select(people).where(people.c.owner == owner, people.c.id.in_(persons))
            found = {row.id: row_as(PersonRow, row) for row in connection.execute(chosen)}
            marked = favourites_of(connection, persons)
        dates = {id: person_due(person, id in marked, kept, now) for id, person in found.items()}
        return {
            row.id: min(
                [*(dates[each] for each in of_job.get(row.job, ()) if each in dates), *_own_due(row, kept, now)],
                key=lambda due: due.on,
                default=Due(float("inf")),
            )
            for row in rows
        }

    def mark_people_warned(self, owner: str, jobs_of: Collection[str], now: float) -> None:
        """Note that an owner was warned that the people in these jobs are due."""
        in_jobs = sa.select(job_people.c.person).where(job_people.c.job.in_(jobs_of))
        self._mark_warned(people, (people.c.owner == owner) & people.c.id.in_(in_jobs), people.c.used, now)

    def mark_templates_warned(self, owner: str, ids: Collection[str], now: float) -> None:
        """Note that an owner was warned that these pictures are due."""
        used = sa.func.coalesce(templates.c.used, templates.c.created)
        self._mark_warned(templates, (templates.c.owner == owner) & templates.c.id.in_(ids), used, now)

    def due_people(self, kept: RetentionSettings, now: float, limit: int = 100) -> Sequence[PersonRow]:
        """People who are due and in no job that has not ended, the longest unused first."""
        chosen = sa.select(people).where(_people_over(kept, now))
        return self._all(PersonRow, chosen.order_by(people.c.used).limit(limit))

    def due_portraits(self, kept: RetentionSettings, now: float, limit: int = 100) -> Sequence[PortraitRow]:
        """Portraits that are no favourites and are due by themselves, the longest unused first."""
        chosen = sa.select(portraits).where(_portraits_over(kept, now))
        return self._all(PortraitRow, chosen.order_by(portraits.c.id).limit(limit))

    def due_templates(self, kept: RetentionSettings, now: float, limit: int = 100) -> Sequence[TemplateRow]:
        """Uploaded pictures that are due and in no job that has not ended, the longest unused first."""
        chosen = sa.select(templates).where(_templates_over(kept, now))
        found = self._all(TemplateRow, chosen.order_by(templates.c.id).limit(limit))
        owners = {row.owner for row in found}
        waiting = sa.select(jobs.c.wants).where(jobs.c.owner.in_(owners), jobs.c.state.not_in(FINISHED))
        with self.database.read() as connection:
            busy = {id for params in connection.scalars(waiting) for id in templates_in(params)} if owners else set()
        return [row for row in found if row.id not in busy]

    def erase_due(
        self,
        row: PersonRow | PortraitRow | TemplateRow,
        kept: RetentionSettings,
        now: float,
        erase: Callable[[sa.Connection], T],
    ) -> T | None:
        """Call `erase` in a transaction in which the row is still due; None where it was used or erased meanwhile."""
        table, over = (
            (people, _people_over)
            if isinstance(row, PersonRow)
            else (portraits, _portraits_over)
            if isinstance(row, PortraitRow)
            else (templates, _templates_over)
        )
        with self.database.write() as connection:
            self.database.lock_owner(connection, row.owner)
            mine = sa.select(table.c.id).where(table.c.id == row.id, over(kept, now))
            return erase(connection) if connection.scalar(mine.with_for_update()) else None

    def _use(self, table: sa.Table, mine: sa.ColumnElement[bool], now: float) -> None:
        """Write the time of use, where the last one is not of the same hour: most calls only read."""
        created = table.c.created if "created" in table.c else sa.literal(0.0)
        stale = mine & (sa.func.coalesce(table.c.used, created) < now - USE_INTERVAL)
        with self.database.read() as connection:
            if not connection.scalar(sa.select(sa.exists().where(stale))):
                return
        self._write(sa.update(table).where(stale).values(used=now))

    def _mark_warned(
        self, table: sa.Table, mine: sa.ColumnElement[bool], used: sa.ColumnElement[Any], now: float
    ) -> None:
        """Write when an owner was warned, where they were not since the last use."""
        unwarned = mine & (sa.func.coalesce(table.c.warned, 0.0) <= used)
        with self.database.read() as connection:
            if not connection.scalar(sa.select(sa.exists().where(unwarned))):
                return
        self._write(sa.update(table).where(unwarned).values(warned=now))


def favourites_of(connection: sa.Connection, persons: Collection[str]) -> set[str]:
    """Those of these people who are on a favourite."""
    on = sa.select(job_people.c.person).join(portraits, portraits.c.job == job_people.c.job)
    return set(
        connection.scalars(on.where(job_people.c.person.in_(persons), portraits.c.favourite.is_(True)).distinct())
    )


def _people_over(kept: RetentionSettings, now: float) -> sa.ColumnElement[bool]:
    in_jobs = sa.select(job_people.c.person).join(jobs, jobs.c.id == job_people.c.job)
    busy = in_jobs.where(jobs.c.state.not_in(FINISHED))
    marked = in_jobs.join(portraits, portraits.c.job == jobs.c.id).where(portraits.c.favourite.is_(True))
    warned = _warned_long_ago(people.c.used, people.c.warned, kept, now)
    over = people.c.used < now - (kept.people_days or 0.0) * DAY
    return over & (people.c.id.not_in(marked) | warned) & people.c.id.not_in(busy)


def _portraits_over(kept: RetentionSettings, now: float) -> sa.ColumnElement[bool]:
    if kept.portraits_days is None:
        return sa.false()
    used = sa.func.coalesce(portraits.c.used, portraits.c.created)
    return (used < now - kept.portraits_days * DAY) & portraits.c.favourite.is_(False)


def _templates_over(kept: RetentionSettings, now: float) -> sa.ColumnElement[bool]:
    used = sa.func.coalesce(templates.c.used, templates.c.created)
    over = used < now - (kept.templates_days or 0.0) * DAY
    return over & (templates.c.used.is_(None) | _warned_long_ago(used, templates.c.warned, kept, now))


def _own_due(row: PortraitRow, kept: RetentionSettings, now: float) -> list[Due]:
    if kept.portraits_days is None or row.favourite:
        return []
    end = (row.used or row.created) + kept.portraits_days * DAY
    return [Due(end, now >= end - kept.warning_days * DAY)]


def _warned_long_ago(
    used: sa.ColumnElement[Any], warned: sa.ColumnElement[Any], kept: RetentionSettings, now: float
) -> sa.ColumnElement[bool]:
    """Whether the owner was warned long enough ago, or nothing was used for so long that nobody comes to be warned."""
    long_ago = (warned > used) & (warned < now - kept.warning_days * DAY)
    return sa.or_(long_ago, used < now - max(kept.unseen_days, kept.warning_days) * DAY)
