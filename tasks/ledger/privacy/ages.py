"""People who may be children: nobody draws them without the consent of a parent or guardian, or an operator's word.

What their photos ask for is noted when these are judged. It is nobody's age, and no proof of anything.
"""

from collections.abc import Collection
from functools import partial

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.privacy.consents import with_guardians
from tasks.ledger.rows import Page, PersonRow, Repository, row_as
from tasks.ledger.tables import identities, people

SENTENCE = (
    "A parent or guardian must agree before portraits of this person are made. "
    "Where the person is an adult, an operator can note it."
)


def waiting(connection: sa.Connection, persons: Collection[str], closed: bool) -> set[str]:
    """Those of some people whose guardian is asked and has not agreed.

    With `closed`, also people of whose photos it is not known whether to ask, once they can be drawn.
    """
    found = set(connection.scalars(_ASKED[closed], {"of_persons": sorted(persons)}))
    return found - with_guardians(connection, found) if found else found


def note_answer(connection: sa.Connection, person: str, asks_guardian: bool | None) -> None:
    """Note what a person's photos ask for, as they were judged last."""
    connection.execute(sa.update(people).where(people.c.id == person).values(asks_guardian=asks_guardian))


class AgeRepository(Repository):
    """The question whether a parent or guardian must agree."""

    def require(self, persons: Collection[str], closed: bool = False) -> None:
        """Raise `UserError` (`guardian_needed`) where somebody among them waits for a guardian; see `waiting`."""
        with self.database.read() as connection:
            if waiting(connection, persons, closed):
                raise UserError("guardian_needed", SENTENCE)

    def waiting(self, persons: Collection[str], closed: bool = False) -> set[str]:
        """The people among them who wait for a guardian."""
        with self.database.read() as connection:
            return waiting(connection, persons, closed)

    def may_be_children(self, persons: Collection[str]) -> bool:
        """Whether somebody among them may be a child, also with a guardian's consent."""
        asked = sa.select(sa.exists().where(people.c.id.in_(persons), _needs_guardian(closed=False)))
        with self.database.read() as connection:
            return bool(connection.scalar(asked))

    def list(self, closed: bool = False, cursor: str | None = None, limit: int = 50) -> Page[PersonRow]:
        """The people of all owners who may be children and of whom nobody noted that they are adults, the newest first."""
        return self._page(partial(row_as, PersonRow), sa.select(people).where(_needs_guardian(closed)), cursor, limit)

    def settle(self, person: str, now: float) -> None:
        """Note that a person is an adult, whoever owns them; raises `UserError` (`not_found`)."""
        if not self._write(sa.update(people).where(people.c.id == person).values(age_settled=now)):
            raise UserError("not_found", f"There is no person with the id {person[:64]!r}.")


def _needs_guardian(closed: bool) -> sa.ColumnElement[bool]:
    asked: sa.ColumnElement[bool] = people.c.asks_guardian.is_(True)
    if closed:
        drawable = sa.exists().where(identities.c.person == people.c.id)
        asked = asked | (people.c.asks_guardian.is_(None) & drawable)
    return asked & people.c.age_settled.is_(None)


# Made once: to put a statement together takes longer than to have it answered.
_ANY_OF = people.c.id.in_(sa.bindparam("of_persons", expanding=True))
_ASKED = {closed: sa.select(people.c.id).where(_ANY_OF, _needs_guardian(closed)) for closed in (False, True)}
