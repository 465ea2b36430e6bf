"""Faces that are never drawn, by their embeddings alone: no photo, no name, and no row of a person belongs to them.

Arithmetic is imported where faces are compared: every process opens the ledger, and few of them know numpy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.rows import Page, Repository, row_as
from tasks.ledger.tables import metadata

if TYPE_CHECKING:
    from portrait.arrays import Vector

blocked_people = sa.Table(
    "blocked_people",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("note", sa.String(200), nullable=False),
    sa.Column("added_by", sa.String(200), nullable=False),
    sa.Column("added", sa.Double, nullable=False),
    sa.Column("embeddings", sa.JSON, nullable=False),
)
_ANY = sa.select(blocked_people.c.id).limit(1)
SENTENCE = "This person is not drawn here. If that is a mistake, ask whoever runs this installation."


@dataclass(frozen=True, slots=True)
class BlockedPersonRow:
    """A face that is never drawn."""

    id: str
    note: str
    """What the operator wrote about it, as the number of a letter."""
    added_by: str
    """The operator who added it, as the audit log names them."""
    added: float
    embeddings: Mapping[str, Sequence[float]]
    """By embedding space; a face is found by finders of these spaces alone."""


class BlockedPersonRepository(Repository):
    """The faces that are never drawn."""

    def add(self, row: BlockedPersonRow) -> None:
        """Insert one."""
        self._write(sa.insert(blocked_people).values(asdict(row)))

    def list(self, cursor: str | None = None, limit: int = 50) -> Page[BlockedPersonRow]:
        """Return them, the newest first."""
        return self._page(lambda row: row_as(BlockedPersonRow, row), sa.select(blocked_people), cursor, limit)

    def remove(self, id: str) -> None:
        """Let somebody be drawn again; raises `UserError` (`not_found`)."""
        if not self._write(sa.delete(blocked_people).where(blocked_people.c.id == id)):
            raise UserError("not_found", f"There is no blocked person with the id {id[:64]!r}.")

    def any(self) -> bool:
        """Return whether there is one."""
        with self.database.read() as connection:
            return connection.scalar(_ANY) is not None

    def has(self, faces: "Sequence[Mapping[str, Sequence[float] | Vector]]") -> bool:
        """Return whether one of some people, by their mean embeddings, is among them.

        Faces are compared within one embedding space, by the distance up to which it takes two for one person.
        """
        there = self._all(BlockedPersonRow, sa.select(blocked_people))
        return any(_is_same(row.embeddings, each) for row in there for each in faces)

    def check(self, faces: "Sequence[Mapping[str, Sequence[float] | Vector]]") -> None:
        """Raise `UserError` (`person_blocked`) where one of the people is among them; see `has`."""
        if self.has(faces):
            raise UserError("person_blocked", SENTENCE)


def _is_same(one: Mapping[str, Sequence[float]], other: "Mapping[str, Sequence[float] | Vector]") -> bool:
    import numpy as np

    from portrait.faces.likeness import ARCFACE_STEPS, STEPS, distance

    return any(
        distance(space, np.asarray(one[space], np.float32), np.asarray(other[space], np.float32))
        <= STEPS.get(space, ARCFACE_STEPS)[-1]
        for space in one.keys() & other.keys()
    )
