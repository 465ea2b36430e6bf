"""Consents: who consented for whom to which words; required wherever something is made of a person, and stored as proof.

`require_consent` is called inside the transaction that makes a job, and takes a lock that a withdrawal waits for: whichever
commits first, the other sees it. At claim and delivery the job's own row is locked, and a withdrawal that is not seen yet stops
the job afterwards.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from portrait.errors import OperatorError, UserError
from tasks.consent_texts import FALLBACK, ConsentText
from tasks.jobs import Job
from tasks.ledger.rows import Page, Repository, get_owned, row_as
from tasks.ledger.tables import consent_proofs, consent_texts, consents, job_people, people

ConsentState: TypeAlias = Literal["given", "outdated", "withdrawn"]
"""`outdated`: given to a text that a newer one has ended."""
REMOVED = "removed"
"""What stands in the place of an owner who was removed."""
_SENTENCES = {
    "withdrawn": "Consent was withdrawn for this person. Agree again to go on.",
    "outdated": "The text of consent has changed since it was agreed to. Read it and agree again to go on.",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody states who agrees."""

    text_version: str
    given_by: str
    """The name of who agrees, as they wrote it."""
    language: str = ""
    text_hash: str = ""
    """Hash of the text in that language; empty for consents from before texts were kept."""
    days: float | None = None
    """The days that the text named."""
    given_for: str = ""
    """`self`, `proxy` or `guardian`; empty where it was not said."""
    adult: bool = False
    """Whether who agrees stated to be of age; in texts before 2027-01, that everybody is."""
    key: str = ""
    """Id of the key or session that it was given with."""


@dataclass(frozen=True, slots=True)
class ConsentTextRow:
    """A published text in one language."""

    version: str
    language: str
    number: int
    """Its place in the order of the texts, from 1; 0 for one that this installation does not know any more."""
    asks_again: bool
    sha256: str
    content: Mapping[str, Any]
    """Fields of `tasks.consent_texts.ConsentWords`."""
    published: float


@dataclass(frozen=True, slots=True)
class ProofRow:
    """What is known of a consent without the name: also after the person was erased."""

    id: str
    owner: str
    person: str
    text_version: str
    language: str
    text_hash: str
    days: float | None
    given_for: str
    adult: bool
    key: str
    given: float
    withdrawn: float | None
    erased: float | None
    """When the person was erased; None while they are there."""


def require_consent(connection: sa.Connection, owner: str, persons: Collection[str], *, lock: bool = True) -> None:
    """Check that the owner's people agreed, inside the transaction that makes something of them.

    With `lock`, a withdrawal waits for this transaction. Raises `UserError`: `not_found`, `erased`, `consent_withdrawn`,
    `consent_outdated`.
    """
    for person in sorted(set(persons)):
        get_owned(connection, people, owner, person)
    for state in consent_states(connection, persons, lock=lock).values():
        if state != "given":
            raise UserError(f"consent_{state}", _SENTENCES[state])


def consent_states(
    connection: sa.Connection, persons: Collection[str], *, lock: bool = False
) -> dict[str, ConsentState]:
    """Whether consent holds, by person; with `lock`, a withdrawal waits for this transaction."""
    if not persons:
        return {}
    found: dict[str, ConsentState] = dict.fromkeys(persons, "withdrawn")
    for row in connection.execute(_LOCKED if lock else _GIVEN, {"of_persons": sorted(set(persons))}):
        if row.number >= row.first:
            found[row.person] = "given"
        elif found[row.person] == "withdrawn":
            found[row.person] = "outdated"
    return found


def with_guardians(connection: sa.Connection, persons: Collection[str]) -> set[str]:
    """The people for whom a parent or guardian agreed, in a consent that holds."""
    number = sa.select(sa.func.max(consent_texts.c.number)).where(consent_texts.c.version == consents.c.text_version)
    holds = sa.func.coalesce(number.scalar_subquery(), 0) >= _first_that_holds(connection)
    given = (consents.c.given_for == "guardian") & consents.c.withdrawn.is_(None) & consents.c.person.in_(persons)
    return set(connection.scalars(sa.select(consents.c.person).where(given, holds)))


def persons_in(connection: sa.Connection, job: Job) -> set[str]:
    """The people of a job: those it was made for, and those its parameters name."""
    found = connection.scalars(sa.select(job_people.c.person).where(job_people.c.job == job.id)).all()
    named = [*dict(job.params.get("people") or {}).values(), job.params.get("person")]
    return {*found, *(str(each) for each in named if each)}


def keep_proofs(connection: sa.Connection, persons: Collection[str], now: float) -> None:
    """Keep what shows that consent was given, without the names, and hold up jobs that are being made of these people.

    To be called first in the transaction that erases them.
    """
    theirs = consents.c.person.in_(persons)
    connection.execute(sa.select(consents.c.id).where(theirs).with_for_update()).all()
    chosen = sa.select(*_nameless(consents), sa.literal(now, sa.Double)).where(theirs)
    names = [column.name for column in consent_proofs.c if column.name != "erased"]
    connection.execute(sa.insert(consent_proofs).from_select([*names, "erased"], chosen))


class ConsentRepository(Repository):
    """The texts of consent that this installation published, and the proofs of consents."""

    def publish(self, texts: Sequence[ConsentText], now: float) -> None:
        """Publish the texts, the newest last; raises `OperatorError` (`bad_settings`) for one that was changed."""
        wanted = {
            (text.version, language): (number, text.asks_again, words)
            for number, text in enumerate(texts, 1)
            for language, words in text.words.items()
        }
        if self._differing(self._texts(), wanted) == []:
            return
        with self.database.write() as connection:
            self.database.lock_owner(connection, "consent texts")
            there = [row_as(ConsentTextRow, row) for row in connection.execute(sa.select(consent_texts))]
            for version, language in self._differing(there, wanted):
                number, asks_again, words = wanted.get((version, language), (0, False, None))
                mine = (consent_texts.c.version == version) & (consent_texts.c.language == language)
                order = {"number": number, "asks_again": asks_again}
                changed = connection.execute(sa.update(consent_texts).where(mine).values(order))
                if not changed.rowcount and words is not None:
                    content = {"sha256": words.sha256, "content": words.model_dump(by_alias=True), "published": now}
                    named = {"version": version, "language": language, **order, **content}
                    connection.execute(sa.insert(consent_texts).values(named))

    def current(self, language: str) -> ConsentTextRow:
        """The newest text in a language or the one it falls back to; raises `OperatorError` (`bad_settings`) without one."""
        texts = [row for row in self._texts() if row.number]
        if not texts:
            raise OperatorError("bad_settings", "No text of consent was published. Start the API once.")
        newest = max(row.number for row in texts)
        return _in_language([row for row in texts if row.number == newest], language)

    def current_version(self) -> str:
        """Version of the newest text; empty without one."""
        newest = sa.select(consent_texts.c.version).where(consent_texts.c.number > 0)
        with self.database.read() as connection:
            return connection.scalar(newest.order_by(consent_texts.c.number.desc()).limit(1)) or ""

    def known(self, version: str, language: str) -> ConsentTextRow:
        """The text that somebody agrees to; raises `UserError`: `unknown_text`, `consent_outdated`."""
        texts = [row for row in self._texts() if row.version == version and row.number]
        if not texts:
            sentence = f"There is no text of consent with the version {version[:40]!r}. Ask for the present one."
            raise UserError("unknown_text", sentence)
        with self.database.read() as connection:
            if texts[0].number < _first_that_holds(connection):
                raise UserError("consent_outdated", _SENTENCES["outdated"])
        return _in_language(texts, language)

    def proofs(self, owner: str = "", person: str = "", cursor: str | None = None, limit: int = 50) -> Page[ProofRow]:
        """Proofs of consents, the newest first: of everybody, of an owner, of a person, erased or not."""
        there = sa.select(*_nameless(consents), sa.null().cast(sa.Double).label("erased"))
        gone = sa.select(*_nameless(consent_proofs), consent_proofs.c.erased)
        both = sa.union_all(there, gone).subquery()
        chosen = sa.select(both)
        for column, wanted in ((both.c.owner, owner), (both.c.person, person)):
            if wanted:
                chosen = chosen.where(column == wanted)
        return self._page(lambda row: row_as(ProofRow, row), chosen, cursor, limit)

    def prune(self, older_than: float) -> int:
        """Delete the proofs of people who were erased before `older_than`; returns how many."""
        return self._write(sa.delete(consent_proofs).where(consent_proofs.c.erased < older_than))

    def forget_owner(self, owner: str, connection: sa.Connection) -> None:
        """Take a removed owner's name out of the proofs."""
        mine = consent_proofs.c.owner == owner
        connection.execute(sa.update(consent_proofs).where(mine).values(owner=REMOVED))

    def _texts(self) -> Sequence[ConsentTextRow]:
        return self._all(ConsentTextRow, sa.select(consent_texts).order_by(consent_texts.c.language))

    def _differing(
        self, there: Sequence[ConsentTextRow], wanted: Mapping[tuple[str, str], tuple[int, bool, Any]]
    ) -> list[tuple[str, str]]:
        """Version and language of the texts whose rows are to be written."""
        found = {(row.version, row.language): row for row in there}
        for name, (_, _, words) in wanted.items():
            if name in found and found[name].sha256 != words.sha256:
                raise OperatorError(
                    "bad_settings",
                    f"The text of consent {name[0]} ({name[1]}) was published in other words, and people agreed to those. "
                    "Give the new words a version of their own.",
                )
        order = {name: (row.number, row.asks_again) for name, row in found.items()}
        gone = [name for name, row in found.items() if name not in wanted and (row.number or row.asks_again)]
        return gone + [name for name, (number, again, _) in wanted.items() if order.get(name) != (number, again)]


def _nameless(table: sa.Table) -> list[sa.Column[Any]]:
    """The columns of a consent that are kept as proof: all but the name of who gave it, in their order there."""
    return [table.c[column.name] for column in consent_proofs.c if column.name != "erased"]


def _in_language(texts: Sequence[ConsentTextRow], language: str) -> ConsentTextRow:
    by_language = {row.language: row for row in texts}
    wishes = (language, language.split("-")[0], FALLBACK, min(by_language))
    return next(by_language[each] for each in wishes if each in by_language)


def _first_that_holds(connection: sa.Connection) -> int:
    """Number of the newest text that asks everybody again; consents to those before it do not hold. 0 without one."""
    return connection.scalar(_ASKING) or 0


# Made once: to put a statement together takes longer than to have it answered.
_ASKING = sa.select(sa.func.max(consent_texts.c.number)).where(consent_texts.c.asks_again.is_(True))
_NUMBER = sa.select(sa.func.max(consent_texts.c.number)).where(consent_texts.c.version == consents.c.text_version)
_GIVEN = sa.select(
    consents.c.person,
    sa.func.coalesce(_NUMBER.scalar_subquery(), 0).label("number"),
    sa.func.coalesce(_ASKING.scalar_subquery(), 0).label("first"),
).where(consents.c.person.in_(sa.bindparam("of_persons", expanding=True)), consents.c.withdrawn.is_(None))
_LOCKED = _GIVEN.order_by(consents.c.person).with_for_update(read=True, of=consents)
