"""People with their consents, selfies, training sets and identities; and their erasure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from portrait.errors import UserError
from tasks import jobs as states
from tasks.jobs import DAY
from tasks.ledger import transitions
from tasks.ledger.database import new_id
from tasks.ledger.rows import (
    ConsentRow,
    IdentityRow,
    Page,
    PersonRow,
    Repository,
    SelfieRow,
    TrainingSetRow,
    add_tombstones,
    get_owned,
    require_consent,
    row_as,
)
from tasks.ledger.tables import (
    consents,
    idempotency_keys,
    identities,
    job_events,
    job_people,
    jobs,
    people,
    portraits,
    selfies,
    training_sets,
)

OVERRIDES = ("", "include", "exclude")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ErasedIds:
    """Ids of what was erased."""

    people: Sequence[str] = ()
    selfies: Sequence[str] = ()
    training_sets: Sequence[str] = ()
    portraits: Sequence[str] = ()
    jobs: Sequence[str] = ()
    """Jobs that the people were in: ended ones are deleted, running ones are requested to stop."""


@dataclass(frozen=True, slots=True)
class PersonSummary:
    """Counts and newest rows of a person."""

    photos: int = 0
    consent: bool = False
    """Whether consent holds."""
    identity: str | None = None
    """Id of the newest identity."""
    bases: Sequence[str] = ()
    """Bases that a LoRA of the person was trained on, the newest first."""
    judged: Sequence[SelfieRow] = ()
    """Their photos, in the order of upload."""


class PersonRepository(Repository):
    """People of owners, and what belongs to them."""

    def add(
        self, owner: str, name: str, text_version: str, given_by: str, now: float, most: int = 1_000_000
    ) -> PersonRow:
        """Insert a person together with their consent; raises `too_many_people` beyond `most`."""
        person = PersonRow(new_id("person", now), owner, name, now, now)
        consent = ConsentRow(new_id("consent", now), owner, person.id, text_version, given_by, now)
        with self.database.write() as connection:
            self.database.lock_owner(connection, owner)
            if _count(connection, owner) >= most:
                raise UserError("too_many_people", f"There can be {most} people at most. Erase somebody first.")
            connection.execute(sa.insert(people).values(asdict(person)))
            connection.execute(sa.insert(consents).values(asdict(consent)))
        return person

    def get(self, owner: str, id: str) -> PersonRow:
        """One person; raises `not_found`, `erased`."""
        return self._owned(PersonRow, people, owner, id)

    def list(self, owner: str, cursor: str | None = None, limit: int = 50) -> Page[PersonRow]:
        """The owner's people, the newest first."""
        return self._page(partial(row_as, PersonRow), sa.select(people).where(people.c.owner == owner), cursor, limit)

    def summarize(self, persons: Sequence[PersonRow]) -> dict[str, PersonSummary]:
        """Return the summaries of people who were just read, by id."""
        ids = [each.id for each in persons]
        with self.database.read() as connection:

            def by_person(table: sa.Table, value: "sa.ColumnElement[Any]", *conditions: Any) -> dict[str, Any]:
                chosen = sa.select(table.c.person, value).where(table.c.person.in_(ids), *conditions)
                return {row[0]: row[1] for row in connection.execute(chosen.group_by(table.c.person))}

            holds = by_person(consents, sa.func.count(), consents.c.withdrawn.is_(None))
            newest = by_person(identities, sa.func.max(identities.c.id))
            chosen = sa.select(identities.c.person, identities.c.base)
            mine = chosen.where(identities.c.person.in_(ids), identities.c.base != "")
            bases_of = connection.execute(mine.order_by(identities.c.id.desc())).all()
            rows = connection.execute(sa.select(selfies).where(selfies.c.person.in_(ids)).order_by(selfies.c.id)).all()
        judged = [row_as(SelfieRow, row) for row in rows]
        bases = {id: tuple(dict.fromkeys(row.base for row in bases_of if row.person == id)) for id in ids}
        photos = {id: [photo for photo in judged if photo.person == id] for id in ids}
        return {id: PersonSummary(len(photos[id]), id in holds, newest.get(id), bases[id], photos[id]) for id in ids}

    def count(self, owner: str) -> int:
        """Count the owner's people, for the quota."""
        with self.database.read() as connection:
            return _count(connection, owner)

    def rename(self, owner: str, id: str, name: str) -> PersonRow:
        """Change a person's name."""
        return self._change_owned(PersonRow, people, owner, id, name=name)

    def consents(self, owner: str, person: str) -> Sequence[ConsentRow]:
        """A person's consents, the oldest first."""
        return self._of_person(ConsentRow, consents, owner, person)

    def add_consent(self, owner: str, person: str, text_version: str, given_by: str, now: float) -> ConsentRow:
        """Insert another consent, after a withdrawal or to a newer text."""
        consent = ConsentRow(new_id("consent", now), owner, person, text_version, given_by, now)
        with self.database.write() as connection:
            get_owned(connection, people, owner, person)
            connection.execute(sa.insert(consents).values(asdict(consent)))
        return consent

    def withdraw(self, owner: str, person: str, now: float) -> None:
        """Withdraw every consent: nothing more is made of the person until there is a new one.

        Queued jobs are cancelled, running ones requested to stop.
        """
        with self.database.write() as connection:
            get_owned(connection, people, owner, person)
            _cancel_jobs(connection, person, now)
            given = (consents.c.person == person) & consents.c.withdrawn.is_(None)
            connection.execute(sa.update(consents).where(given).values(withdrawn=now))

    def require_consent(self, owner: str, person: str) -> PersonRow:
        """Return the person if a consent holds; raises `not_found`, `erased`, `consent_withdrawn`."""
        with self.database.read() as connection:
            row = row_as(PersonRow, get_owned(connection, people, owner, person))
            require_consent(connection, person)
            return row

    def add_selfie(self, selfie: SelfieRow, most: int, a_day: int = 1_000_000) -> SelfieRow:
        """Insert a photo; the same bytes again return the row that is there already, with its own id.

        Raises `not_found` for the person, `too_many_photos` beyond `most`, `quota_photos` beyond `a_day` of the owner's.
        """
        with self.database.write() as connection:
            self.database.lock_owner(connection, selfie.owner)
            get_owned(connection, people, selfie.owner, selfie.person)
            mine = selfies.c.person == selfie.person
            same = connection.execute(sa.select(selfies).where(mine, selfies.c.sha256 == selfie.sha256)).first()
            if same is not None:
                return row_as(SelfieRow, same)
            _check_photo_quota(connection, selfie, a_day)
            if (connection.scalar(sa.select(sa.func.count()).where(mine)) or 0) >= most:
                raise UserError("too_many_photos", f"A person has {most} photos at most. Delete some first.")
            connection.execute(sa.insert(selfies).values(asdict(selfie)))
            connection.execute(sa.update(people).where(people.c.id == selfie.person).values(used=selfie.created))
            return selfie

    def selfie(self, owner: str, id: str) -> SelfieRow:
        """One photo; raises `not_found`, `erased`."""
        return self._owned(SelfieRow, selfies, owner, id)

    def selfies(self, owner: str, person: str) -> Sequence[SelfieRow]:
        """All photos of a person, in the order in which they were uploaded."""
        return self._of_person(SelfieRow, selfies, owner, person)

    def set_override(self, owner: str, id: str, override: str) -> SelfieRow:
        """Override the verdict on a photo: `include`, `exclude`, or empty for none; raises `bad_wish`."""
        if override not in OVERRIDES:
            raise UserError("bad_wish", "A photo is to be included, excluded, or left to the judge.")
        return self._change_owned(SelfieRow, selfies, owner, id, wish=override)

    def delete_selfie(self, owner: str, id: str, now: float) -> SelfieRow:
        """Delete a photo's row and return it; the caller erases its file."""
        return self._erase_owned(SelfieRow, selfies, owner, id, now)

    def training_sets(self, owner: str, person: str) -> Sequence[TrainingSetRow]:
        """A person's training sets, the newest first."""
        return self._of_person(TrainingSetRow, training_sets, owner, person)[::-1]

    def delete_training_set(self, owner: str, id: str) -> None:
        """Delete a training set and the identities made of it; the caller erases its folder."""
        with self.database.write() as connection:
            get_owned(connection, training_sets, owner, id)
            connection.execute(sa.delete(training_sets).where(training_sets.c.id == id))

    def training_set(self, owner: str, id: str) -> TrainingSetRow:
        """One training set; raises `not_found`, `erased`."""
        return self._owned(TrainingSetRow, training_sets, owner, id)

    def identity(self, owner: str, id: str) -> IdentityRow:
        """One identity; raises `not_found`, `erased`."""
        return self._owned(IdentityRow, identities, owner, id)

    def identities(self, owner: str, person: str) -> Sequence[IdentityRow]:
        """A person's identities, the newest first: the first is the one to draw."""
        return self._of_person(IdentityRow, identities, owner, person)[::-1]

    def erase(self, owner: str, id: str, now: float) -> ErasedIds:
        """Delete a person and everything made from their photos; the caller erases the files.

        Queued jobs are cancelled, running ones requested to stop: they can write nothing any more.
        """
        with self.database.write() as connection:
            get_owned(connection, people, owner, id)
            return _erase(connection, owner, id, now)

    def erase_owner(self, owner: str, now: float) -> ErasedIds:
        """Delete all people of an owner; keys and webhooks stay."""
        with self.database.write() as connection:
            ids = connection.scalars(sa.select(people.c.id).where(people.c.owner == owner)).all()
            parts = [_erase(connection, owner, each, now) for each in ids]
        names = ("people", "selfies", "training_sets", "portraits", "jobs")
        return ErasedIds(**{name: [each for part in parts for each in getattr(part, name)] for name in names})

    def unused_since(self, time: float, limit: int = 100) -> Sequence[PersonRow]:
        """People who were last used before `time` and are in no job that has not ended, the longest unused first."""
        in_jobs = sa.select(job_people.c.person).join(jobs, jobs.c.id == job_people.c.job)
        busy = in_jobs.where(jobs.c.state.not_in(states.FINISHED))
        unused = sa.select(people).where(people.c.used < time, people.c.id.not_in(busy))
        return self._all(PersonRow, unused.order_by(people.c.used).limit(limit))

    def _of_person(self, kind: type[T], table: sa.Table, owner: str, person: str) -> Sequence[T]:
        """Return the rows of a table that belong to a person, the oldest first."""
        with self.database.read() as connection:
            get_owned(connection, people, owner, person)
            chosen = sa.select(table).where(table.c.person == person, table.c.owner == owner)
            return [row_as(kind, row) for row in connection.execute(chosen.order_by(table.c.id))]


def _count(connection: sa.Connection, owner: str) -> int:
    return connection.scalar(sa.select(sa.func.count()).where(people.c.owner == owner)) or 0


def _check_photo_quota(connection: sa.Connection, selfie: SelfieRow, a_day: int) -> None:
    """Raise `quota_photos` with the seconds until the oldest photo of the last 24 hours counts no more."""
    lately = (selfies.c.owner == selfie.owner) & (selfies.c.created > selfie.created - DAY)
    chosen = sa.select(sa.func.count(), sa.func.min(selfies.c.created)).where(lately)
    count, oldest = connection.execute(chosen).one()
    if count >= a_day:
        wait = max(1, round(oldest + DAY - selfie.created))
        raise UserError("quota_photos", f"{a_day} photos a day are allowed. Try again later.", {"retry_after": wait})


def _cancel_jobs(connection: sa.Connection, person: str, now: float) -> Sequence[str]:
    """Cancel every job that a person is in and that has not ended; returns the ids of all jobs they are in."""
    job_ids = connection.scalars(sa.select(job_people.c.job).where(job_people.c.person == person)).all()
    for id in job_ids:
        transitions.change_any(connection, id, lambda job: job if job.done else states.request_cancel(job, now), now)
    return job_ids


def _erase(connection: sa.Connection, owner: str, person: str, now: float) -> ErasedIds:
    def ids(chosen: "sa.Select[str]") -> Sequence[str]:
        return connection.scalars(chosen).all()

    job_ids = _cancel_jobs(connection, person, now)
    found = ErasedIds(
        people=[person],
        selfies=ids(sa.select(selfies.c.id).where(selfies.c.person == person)),
        training_sets=ids(sa.select(training_sets.c.id).where(training_sets.c.person == person)),
        portraits=ids(sa.select(portraits.c.id).where(portraits.c.job.in_(job_ids))),
        jobs=job_ids,
    )
    for kind, erased_ids in (("person", [person]), ("selfie", found.selfies), ("portrait", found.portraits)):
        add_tombstones(connection, owner, kind, erased_ids, now)
    connection.execute(sa.delete(people).where(people.c.id == person))  # cascades to all that names the person
    connection.execute(sa.delete(portraits).where(portraits.c.id.in_(found.portraits)))
    # Messages of running jobs name photos; stored responses name people.
    connection.execute(sa.delete(job_events).where(job_events.c.job.in_(job_ids)))
    connection.execute(sa.update(jobs).where(jobs.c.id.in_(job_ids)).values(message=""))
    stored = (idempotency_keys.c.owner == owner) & idempotency_keys.c.body.contains(person, autoescape=True)
    connection.execute(sa.delete(idempotency_keys).where(stored))
    connection.execute(sa.delete(job_people).where(job_people.c.person == person))
    ended = jobs.c.id.in_(job_ids) & jobs.c.state.in_(states.FINISHED)
    add_tombstones(connection, owner, "job", ids(sa.select(jobs.c.id).where(ended)), now)
    connection.execute(sa.delete(jobs).where(ended))
    return found
