"""People with their consents, selfies, training sets and identities; `privacy.erasures` erases them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

import sqlalchemy as sa

from portrait.errors import UserError
from tasks import jobs as states
from tasks.ledger import transitions, usage
from tasks.ledger.database import new_id
from tasks.ledger.idempotency import made_before
from tasks.ledger.privacy.consents import ConsentState, Statement, consent_states, require_consent
from tasks.ledger.rows import (
    ConsentRow,
    IdentityRow,
    Page,
    PersonRow,
    Repository,
    SelfieRow,
    TrainingSetRow,
    get_owned,
    row_as,
    there,
)
from tasks.ledger.tables import (
    consents,
    identities,
    job_people,
    people,
    portraits,
    selfies,
    training_sets,
)

OVERRIDES = ("", "include", "exclude")
Also: TypeAlias = Callable[[sa.Connection, str], None]
"""What is done in the same transaction, with the id of the person: an entry of the audit log."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PersonSummary:
    """Counts and newest rows of a person."""

    photos: int = 0
    consent_state: ConsentState = "withdrawn"
    identity: str | None = None
    """Id of the newest identity."""
    bases: Sequence[str] = ()
    """Bases that a LoRA of the person was trained on, the newest first."""
    judged: Sequence[SelfieRow] = ()
    """Their photos, in the order of upload."""
    favourites: bool = False
    """Whether they are on a favourite."""
    portraits: int = 0
    """Portraits that they are on and that were not deleted."""
    latest_consent: ConsentRow | None = None

    @property
    def face(self) -> str:
        """Id of the best photo that is used, whose crop shows the face; empty without one."""
        used = [photo for photo in self.judged if photo.verdict == "use"]
        return max(used, key=lambda photo: photo.quality.get("total") or 0.0).id if used else ""

    @property
    def consent(self) -> bool:
        """Whether consent holds."""
        return self.consent_state == "given"


class PersonRepository(Repository):
    """People of owners, and what belongs to them."""

    def add(
        self, owner: str, name: str, text_version: str, given_by: str, now: float, most: int = 1_000_000
    ) -> PersonRow:
        """Insert a person with a consent of which no more is known than text and name; see `add_with_consent`."""
        person = PersonRow(new_id("person", now), owner, name, now, now)
        return self.add_with_consent(person, Statement(text_version, given_by), most)

    def add_with_consent(
        self, person: PersonRow, statement: Statement, most: int = 1_000_000, also: Also | None = None
    ) -> PersonRow:
        """Insert a person with their consent, and do `also` in that transaction; raises `too_many_people` beyond `most`.

        Where the owner has a person of that id already, nothing is written: the same request made it.
        """
        owner = person.owner
        with self.database.write() as connection:
            self.database.lock_owner(connection, owner)
            if (before := made_before(connection, people, owner, person.id)) is not None:
                return row_as(PersonRow, before)
            if _count(connection, owner) >= most:
                raise UserError("too_many_people", f"There can be {most} people at most. Erase somebody first.")
            connection.execute(sa.insert(people).values(asdict(person)))
            _insert_consent(connection, owner, person.id, statement, person.created)
            if also is not None:
                also(connection, person.id)
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
        named = {"of_persons": ids}
        with self.database.read() as connection:
            states_of = consent_states(connection, ids)
            drawn = {row.person: row for row in connection.execute(_PORTRAITS, named)}
            agreed = {row.person: row_as(ConsentRow, row) for row in connection.execute(_CONSENTS, named)}
            learned, photos = (_by_person(ids, connection.execute(each, named)) for each in (_IDENTITIES, _SELFIES))
        return {
            id: PersonSummary(
                photos=len(photos[id]),
                consent_state=states_of[id],
                identity=next((row.id for row in learned[id]), None),
                bases=tuple(dict.fromkeys(row.base for row in learned[id] if row.base)),
                judged=[row_as(SelfieRow, row) for row in photos[id]],
                favourites=id in drawn and drawn[id].favourites > 0,
                portraits=drawn[id].there if id in drawn else 0,
                latest_consent=agreed.get(id),
            )
            for id in ids
        }

    def newest_identity(self, owner: str, person: str) -> str | None:
        """Return the id of the newest identity of a person, None without one; raises as `require_consent`."""
        with self.database.read() as connection:
            require_consent(connection, owner, [person], lock=False)
            return connection.scalar(_NEWEST_IDENTITY, {"of_person": person})

    def names(self, owner: str, ids: Collection[str]) -> Mapping[str, str]:
        """The names of the owner's people with these ids; who is not there is left out."""
        chosen = sa.select(people.c.id, people.c.name).where(people.c.owner == owner, people.c.id.in_(ids))
        with self.database.read() as connection:
            return {row.id: row.name for row in connection.execute(chosen)}

    def count(self, owner: str) -> int:
        """Count the owner's people, for the quota."""
        with self.database.read() as connection:
            return _count(connection, owner)

    def rename(self, owner: str, id: str, name: str) -> PersonRow:
        """Change a person's name."""
        return self._change_owned(PersonRow, people, owner, id, name=name)

    def choose_traits(self, owner: str, id: str, traits: Mapping[str, str]) -> PersonRow:
        """Write what a person chose to say of themselves, by trait."""
        return self._change_owned(PersonRow, people, owner, id, traits=dict(traits))

    def consents(self, owner: str, person: str) -> Sequence[ConsentRow]:
        """A person's consents, the oldest first."""
        return self._of_person(ConsentRow, consents, owner, person)

    def add_consent(self, owner: str, person: str, text_version: str, given_by: str, now: float) -> ConsentRow:
        """Insert another consent of which no more is known than text and name; see `give_consent`."""
        return self.give_consent(owner, person, Statement(text_version, given_by), now)

    def give_consent(
        self, owner: str, person: str, statement: Statement, now: float, also: Also | None = None, id: str = ""
    ) -> ConsentRow:
        """Insert another consent, after a withdrawal or to a newer text, and do `also` in that transaction.

        Where there is a consent of the `id` already, nothing is written: the same request made it.
        """
        with self.database.write() as connection:
            get_owned(connection, people, owner, person)
            if id and (before := made_before(connection, consents, owner, id)) is not None:
                return row_as(ConsentRow, before)
            consent = _insert_consent(connection, owner, person, statement, now, id)
            if also is not None:
                also(connection, person)
        return consent

    def withdraw(self, owner: str, person: str, now: float, also: Also | None = None) -> None:
        """Withdraw every consent: nothing more is made of the person until there is a new one.

        Queued jobs are cancelled, running ones requested to stop. The consents are written first: whoever is adding a job of
        the person has locked them, and its job is among those that are found then.
        """
        with self.database.write() as connection:
            get_owned(connection, people, owner, person)
            given = (consents.c.person == person) & consents.c.withdrawn.is_(None)
            connection.execute(sa.update(consents).where(given).values(withdrawn=now))
            _cancel_jobs(connection, person, now)
            if also is not None:
                also(connection, person)

    def require_consent(self, owner: str, person: str) -> PersonRow:
        """Return the person if a consent holds; raises `not_found`, `erased`, `consent_withdrawn`, `consent_outdated`."""
        with self.database.read() as connection:
            require_consent(connection, owner, [person], lock=False)
            return row_as(PersonRow, get_owned(connection, people, owner, person))

    def add_selfie(
        self, selfie: SelfieRow, most: int, a_day: int = 1_000_000, pixels_a_day: int = usage.UNLIMITED
    ) -> SelfieRow:
        """Insert a photo; the same bytes again return the row that is there already, with its own id.

        One that was deleted and is not erased yet is restored by this.
        Raises `not_found` for the person, `too_many_photos` beyond `most`, `quota_photos` and `quota_pixels` beyond what the
        owner may add a day.
        """
        with self.database.write() as connection:
            self.database.lock_owner(connection, selfie.owner)
            require_consent(connection, selfie.owner, [selfie.person])
            mine = selfies.c.person == selfie.person
            same = connection.execute(sa.select(selfies).where(mine, selfies.c.sha256 == selfie.sha256)).first()
            if same is not None and same.removed is None:
                return row_as(SelfieRow, same)
            if same is None:
                usage.charge_photo(connection, selfie.owner, a_day, selfie.created)
                pixels = selfie.width * selfie.height
                usage.charge_pixels(connection, selfie.owner, pixels, pixels_a_day, selfie.created)
            if (connection.scalar(sa.select(sa.func.count()).where(mine, there(selfies))) or 0) >= most:
                raise UserError("too_many_photos", f"A person has {most} photos at most. Delete some first.")
            if same is not None:
                connection.execute(sa.update(selfies).where(selfies.c.id == same.id).values(removed=None))
                return replace(row_as(SelfieRow, same), removed=None)
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

    def choose_face(self, owner: str, id: str, x: float, y: float) -> SelfieRow:
        """Write which face of a photo is the person's: a point in it, as shares of width and height."""
        return self._change_owned(SelfieRow, selfies, owner, id, face={"x": x, "y": y})

    def clear_face(self, owner: str, id: str) -> SelfieRow:
        """Forget which face of a photo was said to be the person's."""
        return self._change_owned(SelfieRow, selfies, owner, id, face=None)

    def training_sets(self, owner: str, person: str) -> Sequence[TrainingSetRow]:
        """A person's training sets, the newest first."""
        return self._of_person(TrainingSetRow, training_sets, owner, person)[::-1]

    def training_set(self, owner: str, id: str) -> TrainingSetRow:
        """One training set; raises `not_found`, `erased`."""
        return self._owned(TrainingSetRow, training_sets, owner, id)

    def identity(self, owner: str, id: str) -> IdentityRow:
        """One identity; raises `not_found`, `erased`."""
        return self._owned(IdentityRow, identities, owner, id)

    def identities(self, owner: str, person: str) -> Sequence[IdentityRow]:
        """A person's identities, the newest first: the first is the one to draw."""
        return self._of_person(IdentityRow, identities, owner, person)[::-1]

    def _of_person(self, kind: type[T], table: sa.Table, owner: str, person: str) -> Sequence[T]:
        """Return the rows of a table that belong to a person, the oldest first."""
        with self.database.read() as connection:
            get_owned(connection, people, owner, person)
            chosen = sa.select(table).where(table.c.person == person, table.c.owner == owner, there(table))
            return [row_as(kind, row) for row in connection.execute(chosen.order_by(table.c.id))]


def _insert_consent(
    connection: sa.Connection, owner: str, person: str, statement: Statement, now: float, id: str = ""
) -> ConsentRow:
    consent = ConsentRow(id or new_id("consent", now), owner, person, given=now, **asdict(statement))
    connection.execute(sa.insert(consents).values(asdict(consent)))
    return consent


def _by_person(ids: Sequence[str], rows: Iterable[Any]) -> Mapping[str, Sequence[sa.Row[Any]]]:
    """Rows of these people by person, in their order."""
    found: dict[str, list[sa.Row[Any]]] = {id: [] for id in ids}
    for row in rows:
        found[row.person].append(row)
    return found


def _count(connection: sa.Connection, owner: str) -> int:
    return connection.scalar(sa.select(sa.func.count()).where(people.c.owner == owner)) or 0


def _cancel_jobs(connection: sa.Connection, person: str, now: float) -> Sequence[str]:
    """Cancel every job that a person is in and that has not ended; returns the ids of all jobs they are in."""
    job_ids = connection.scalars(sa.select(job_people.c.job).where(job_people.c.person == person)).all()
    for id in job_ids:
        transitions.change_any(connection, id, lambda job: job if job.done else states.request_cancel(job, now), now)
    return job_ids


# Made once: to put a statement together takes longer than to have it answered.
_PERSONS = sa.bindparam("of_persons", expanding=True)
_PORTRAITS = sa.select(
    job_people.c.person,
    sa.func.count(sa.case((portraits.c.removed.is_(None), 1))).label("there"),
    sa.func.count(sa.case((portraits.c.favourite.is_(True), 1))).label("favourites"),
).join(portraits, portraits.c.job == job_people.c.job)
_PORTRAITS = _PORTRAITS.where(job_people.c.person.in_(_PERSONS)).group_by(job_people.c.person)
_CONSENTS = sa.select(consents).where(consents.c.person.in_(_PERSONS)).order_by(consents.c.id)
_IDENTITIES = sa.select(identities.c.person, identities.c.id, identities.c.base)
_IDENTITIES = _IDENTITIES.where(identities.c.person.in_(_PERSONS)).order_by(identities.c.id.desc())
_SELFIES = sa.select(selfies).where(selfies.c.person.in_(_PERSONS), there(selfies)).order_by(selfies.c.id)
_NEWEST_IDENTITY = sa.select(sa.func.max(identities.c.id)).where(identities.c.person == sa.bindparam("of_person"))
