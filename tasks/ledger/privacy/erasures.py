"""Erasures: in one transaction the rows go and it is written down what else is to go; the row stays as the receipt.

Whoever began an erasure erases the files as well. Where that process dies, the keeper does it, as long as it takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import sqlalchemy as sa

from tasks.ledger.access.audit import SYSTEM, AuditRepository
from tasks.ledger.database import new_id
from tasks.ledger.privacy import removal as removals
from tasks.ledger.privacy.removal import ErasedIds, Removal, Target
from tasks.ledger.rows import OwnedRow, Page, Repository, get_owned, row_as
from tasks.ledger.tables import erasures, identities, people, training_sets

Kind: TypeAlias = Literal["person", "owner", "selfie", "training_set", "identity", "portrait", "template"]
_IDS = {
    "person": "people",
    "selfie": "selfies",
    "training_set": "training_sets",
    "identity": "identities",
    "portrait": "portraits",
    "template": "templates",
}
"""The ids of a receipt among which is what was asked for."""
AUDITED = ("person", "owner", "selfie", "identity")
"""What the audit log says; single portraits and pictures have their receipt alone."""


@dataclass(frozen=True, slots=True)
class ErasureRow(OwnedRow):
    """An erasure: who asked for what, which ids went, and what of the files is left to be erased."""

    kind: Kind
    subject: str
    """The id of what it was asked for."""
    actor: str
    """As in the audit log."""
    asked: float
    until: float
    """A worker may still write until then, so that files are looked for once more after it."""
    targets: Sequence[Target]
    """What is left to be erased in the data folder; empty once it is done."""
    ids: Mapping[str, Sequence[str]]
    """Ids of what went, by kind."""
    done: float | None = None

    @property
    def erased(self) -> ErasedIds:
        """The ids of what went."""
        return ErasedIds(**self.ids)


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks for an erasure, and when."""

    owner: str
    """Whose things are erased."""
    now: float
    actor: str = SYSTEM


@dataclass(frozen=True, slots=True)
class ErasureRepository(Repository):
    """Erasures of an installation. Each method that erases is one transaction, or goes on in the caller's."""

    def get(self, owner: str, id: str) -> ErasureRow:
        """One erasure of the owner's; raises `not_found`."""
        return self._owned(ErasureRow, erasures, owner, id)

    def list(self, owner: str | None, cursor: str | None = None, limit: int = 50) -> Page[ErasureRow]:
        """Erasures of the owner, or of all, the newest first."""
        chosen = sa.select(erasures) if owner is None else sa.select(erasures).where(erasures.c.owner == owner)
        return self._page(lambda row: row_as(ErasureRow, row), chosen, cursor, limit)

    def pending(self, limit: int = 100) -> Sequence[ErasureRow]:
        """Erasures that are not done, the oldest first."""
        chosen = sa.select(erasures).where(erasures.c.done.is_(None)).order_by(erasures.c.id)
        return self._all(ErasureRow, chosen.limit(limit))

    def owners_since(self, asked: float) -> set[str]:
        """Owners of whom something was erased since then."""
        with self.database.read() as connection:
            return set(connection.scalars(sa.select(erasures.c.owner).where(erasures.c.asked >= asked).distinct()))

    def latest(self) -> tuple[int, str]:
        """How many erasures there are, and the newest id: one of both changes with each, in whichever order they come."""
        with self.database.read() as connection:
            count, newest = connection.execute(sa.select(sa.func.count(), sa.func.max(erasures.c.id))).one()
        return count, newest or ""

    def erase_person(self, request: Request, id: str, connection: sa.Connection | None = None) -> ErasureRow:
        """Erase a person and everything made from their photos; raises `not_found`, `erased`."""

        def remove(writing: sa.Connection) -> Removal:
            get_owned(writing, people, request.owner, id)
            return removals.remove_people(writing, request.owner, [id], request.now)

        return self._erase(request, ("person", id), remove, connection)

    def erase_owner(self, request: Request, keep: str = "", connection: sa.Connection | None = None) -> ErasureRow:
        """Erase everything of the owner but the key or session `keep`: people, portraits, pictures, jobs, webhooks, keys."""

        def remove(writing: sa.Connection) -> Removal:
            return removals.remove_owner(writing, request.owner, keep, request.now)

        return self._erase(request, ("owner", request.owner), remove, connection)

    def erase_selfie(
        self, request: Request, id: str, learned: bool = False, connection: sa.Connection | None = None
    ) -> ErasureRow:
        """Erase a photo and what was made of it, with `learned` LoRAs too, which are marked stale otherwise."""

        def remove(writing: sa.Connection) -> Removal:
            return removals.remove_selfie(writing, request.owner, id, request.now, learned)

        return self._erase(request, ("selfie", id), remove, connection)

    def erase_identity(self, request: Request, id: str) -> ErasureRow:
        """Erase an identity; one that was made of photos alone with its training set; raises `not_found`, `erased`."""

        def remove(writing: sa.Connection) -> Removal:
            get_owned(writing, identities, request.owner, id)
            return removals.remove_identities(writing, request.owner, [id], request.now)

        return self._erase(request, ("identity", id), remove)

    def erase_training_set(self, request: Request, id: str, connection: sa.Connection | None = None) -> ErasureRow:
        """Erase a training set and the identities made of it; raises `not_found`."""

        def remove(writing: sa.Connection) -> Removal:
            get_owned(writing, training_sets, request.owner, id)
            return removals.remove_training_sets(writing, request.owner, [id], request.now)

        return self._erase(request, ("training_set", id), remove, connection)

    def erase_portrait(self, request: Request, id: str, connection: sa.Connection | None = None) -> ErasureRow:
        """Erase one portrait; raises `not_found`, `erased`."""

        def remove(writing: sa.Connection) -> Removal:
            return removals.remove_portrait(writing, request.owner, id, request.now)

        return self._erase(request, ("portrait", id), remove, connection)

    def erase_template(self, request: Request, id: str, connection: sa.Connection | None = None) -> ErasureRow:
        """Erase one uploaded picture; raises `not_found`, `erased`."""

        def remove(writing: sa.Connection) -> Removal:
            return removals.remove_template(writing, request.owner, id, request.now)

        return self._erase(request, ("template", id), remove, connection)

    def repeat(self, kind: Kind, ids: ErasedIds, now: float) -> ErasureRow | None:
        """Erase what was erased before and came back with an older copy of the ledger; None where nothing of it is there."""
        with self.database.write() as connection:
            owner = removals.owner_of(connection, ids)
            if owner is None:
                return None
            subject = owner if kind == "owner" else getattr(ids, _IDS[kind])[0]
            return self._erase(
                Request(owner, now),
                (kind, subject),
                lambda writing: removals.remove_ids(writing, owner, ids, now),
                connection,
            )

    def finish(self, erasure: ErasureRow, now: float) -> ErasureRow:
        """Note that nothing is left of what was to be erased; a second time changes nothing."""
        mine = (erasures.c.id == erasure.id) & erasures.c.done.is_(None)
        with self.database.write() as connection:
            if connection.execute(sa.update(erasures).where(mine).values(done=now, targets=[])).rowcount:
                self._audit(connection, "erasure.done", erasure, now)
            return row_as(ErasureRow, get_owned(connection, erasures, erasure.owner, erasure.id))

    def prune(self, older_than: float) -> int:
        """Delete the receipts of what was erased before `older_than`; returns how many."""
        return self._write(sa.delete(erasures).where(erasures.c.done < older_than))

    def existing(self, table: sa.Table, ids: Sequence[str]) -> set[str]:
        """Which of these ids have a row."""
        with self.database.read() as connection:
            return set(connection.scalars(sa.select(table.c.id).where(table.c.id.in_(ids))))

    def _erase(
        self,
        request: Request,
        subject: tuple[Kind, str],
        remove: Callable[[sa.Connection], Removal],
        connection: sa.Connection | None = None,
    ) -> ErasureRow:
        """Delete the rows, and write down in the same transaction what is to follow them."""
        with self.database.within(connection) as writing:
            # Nothing can be added for the owner meanwhile that this would pass by.
            self.database.lock_owner(writing, request.owner)
            found = remove(writing)
            kind, id = subject
            row = ErasureRow(
                id=new_id("erasure", request.now),
                owner=request.owner,
                kind=kind,
                subject=id,
                actor=request.actor,
                asked=request.now,
                until=found.until,
                targets=found.targets,
                ids={name: list(each) for name, each in asdict(found.ids).items() if each},
            )
            writing.execute(sa.insert(erasures).values(asdict(row)))
            self._audit(writing, "erasure.asked", row, request.now)
        return row

    def _audit(self, connection: sa.Connection, action: str, row: ErasureRow, now: float) -> None:
        if row.kind in AUDITED:
            counts: dict[str, str | int] = {name: len(each) for name, each in row.ids.items()}
            actor = row.actor if action == "erasure.asked" else SYSTEM
            detail = {"erasure": row.id, "kind": row.kind, **counts}
            AuditRepository(self.database).add(actor, action, row.subject, detail, now, connection)
