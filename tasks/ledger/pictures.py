"""Delivered portraits, and the pictures that owners upload to have people put into them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger import usage
from tasks.ledger.rows import Page, PortraitRow, Repository, TemplateRow, get_owned, row_as, there
from tasks.ledger.tables import job_people, jobs, portraits, templates

PortraitSort: TypeAlias = Literal["newest", "likeness"]
"""The newest first, or the most alike; ID photos that break rules come last then, those that break fewest first."""
UNMEASURED = 99.0
"""Sorts portraits without a measured face behind all others: no distance is above 2. `ix_portraits_alike` names it."""


@dataclass(frozen=True, slots=True)
class PortraitFilter:
    """Conditions on portraits; an empty field is no condition."""

    person: str = ""
    job: str = ""
    favourite: bool = False
    order: str = ""
    """Id of an order: portraits of all its jobs."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a portrait stands in a list."""

    previous: str
    """Id of the portrait before it; empty for the first."""
    next: str
    place: int
    """1 is the first."""
    total: int


class PortraitRepository(Repository):
    """Delivered portraits."""

    def get(self, owner: str, id: str) -> PortraitRow:
        """One portrait; raises `not_found`, `erased`."""
        return self._owned(PortraitRow, portraits, owner, id)

    def list(
        self,
        owner: str,
        wanted: PortraitFilter = PortraitFilter(),
        cursor: str | None = None,
        limit: int = 50,
        sort: PortraitSort = "newest",
        recipes: bool = True,
    ) -> Page[PortraitRow]:
        """One page of the owner's portraits that fit the filter; raises `bad_cursor`.

        A page goes on behind the last portrait of the one before, whatever came or went meanwhile. Without `recipes`, which are
        most of what a row holds, of them only the rules of ID photos are read.
        """
        chosen = sa.select(*_columns(recipes)).where(*_conditions(owner, wanted))
        parts = _parts_behind(sort, _read_cursor(sort, cursor)) if cursor else [sa.true()]
        rows: list[Any] = []
        with self.database.read() as connection:
            for part in parts:
                wanting = limit + 1 - len(rows)
                if wanting > 0:
                    rows += connection.execute(chosen.where(part).order_by(*_order(sort)).limit(wanting)).all()
        items = [_portrait(row) for row in rows]
        return Page(items[:limit], _cursor(sort, items[limit - 1]) if len(items) > limit else None)

    def count(self, owner: str, wanted: PortraitFilter = PortraitFilter()) -> int:
        """Count the owner's portraits that fit the filter."""
        with self.database.read() as connection:
            if wanted == PortraitFilter():
                return usage.count_holdings(connection, owner, "portraits")
            return _count(connection, *_conditions(owner, wanted))

    def place(self, owner: str, id: str, wanted: PortraitFilter, sort: PortraitSort) -> Place:
        """Where a portrait stands in a list, also one that the filter leaves out; raises `not_found`, `erased`."""
        conditions = _conditions(owner, wanted)
        with self.database.read() as connection:
            row = row_as(PortraitRow, get_owned(connection, portraits, owner, id))
            behind = _behind(sort, _position(row))
            before = sa.not_(behind) & (portraits.c.id != id)

            def first(condition: sa.ColumnElement[bool], order: Sequence[sa.ColumnElement[Any]]) -> str:
                chosen = sa.select(portraits.c.id).where(*conditions, condition).order_by(*order)
                return connection.scalar(chosen.limit(1)) or ""

            return Place(
                previous=first(before, _order(sort, backwards=True)),
                next=first(behind, _order(sort)),
                place=1 + _count(connection, *conditions, before),
                total=_count(connection, *conditions),
            )

    def people(self, rows: Sequence[PortraitRow]) -> Mapping[str, Mapping[str, str]]:
        """Who is on these portraits: by portrait, the ids of people by number of the face."""
        chosen = sa.select(jobs.c.id, jobs.c.wants["people"]).where(jobs.c.id.in_({row.job for row in rows}))
        with self.database.read() as connection:
            of_job = {job: dict(people or {}) for job, people in connection.execute(chosen)} if rows else {}
        return {row.id: of_job.get(row.job, {}) for row in rows}

    def orders(self, rows: Sequence[PortraitRow]) -> Mapping[str, str]:
        """The orders that these portraits were drawn for, by the id of their job; those of jobs by themselves are empty."""
        chosen = sa.select(jobs.c.id, jobs.c.order_id).where(jobs.c.id.in_({row.job for row in rows}))
        with self.database.read() as connection:
            return {row.id: row.order_id for row in connection.execute(chosen)} if rows else {}

    def get_many(self, owner: str, ids: Collection[str]) -> Sequence[PortraitRow]:
        """The owner's portraits with these ids, for a zip; raises `not_found`, `erased` for the first that is missing."""
        with self.database.read() as connection:
            return [row_as(PortraitRow, get_owned(connection, portraits, owner, each)) for each in ids]

    def ids(self, owner: str = "") -> Sequence[str]:
        """The ids of an owner's portraits, or of everybody's where none is named; the newest first."""
        whose = [portraits.c.owner == owner] if owner else []
        query = sa.select(portraits.c.id).where(there(portraits), *whose).order_by(portraits.c.created.desc())
        with self.database.read() as connection:
            return list(connection.scalars(query))

    def change(self, owner: str, id: str, **values: bool | str) -> PortraitRow:
        """Change `favourite` or `title` of a portrait, or both."""
        return self._change_owned(PortraitRow, portraits, owner, id, **values)


def _columns(recipes: bool) -> Sequence[sa.ColumnElement[Any]]:
    """The columns of portraits; without their recipes, only the rules in them."""
    if recipes:
        return list(portraits.c)
    rules = portraits.c.recipe[("drawn", "rules")].label("rules")
    return [*(column for column in portraits.c if column.name != "recipe"), rules]


def _portrait(row: sa.Row[Any]) -> PortraitRow:
    if "recipe" in row._mapping:
        return row_as(PortraitRow, row)
    values = row._asdict()
    rules = values.pop("rules")
    return PortraitRow(**values, recipe={"drawn": {"rules": rules}} if rules else {})


def _conditions(owner: str, wanted: PortraitFilter) -> Sequence[sa.ColumnElement[bool]]:
    # Few of an owner's portraits are of one person, job or order: these are found by their jobs, not among all of the owner's,
    # whose index SQLite would take. No index is of an expression of the owner.
    few = bool(wanted.person or wanted.job or wanted.order)
    whose = portraits.c.owner.concat("") if few else portraits.c.owner
    found = [whose == owner, there(portraits)]
    if wanted.person:
        found.append(portraits.c.job.in_(sa.select(job_people.c.job).where(job_people.c.person == wanted.person)))
    if wanted.job:
        found.append(portraits.c.job == wanted.job)
    if wanted.order:
        found.append(portraits.c.job.in_(sa.select(jobs.c.id).where(jobs.c.order_id == wanted.order)))
    if wanted.favourite:
        found.append(portraits.c.favourite.is_(True))
    return found


def _count(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(portraits).where(*conditions)) or 0


def _distance() -> sa.ColumnElement[float]:
    return sa.func.coalesce(portraits.c.distance, sa.literal_column(repr(UNMEASURED), sa.Double))


def _order(sort: PortraitSort, backwards: bool = False) -> Sequence[sa.ColumnElement[Any]]:
    """What a list is ordered by: of one job the best comes first, whenever it was drawn."""
    table = portraits.c
    newest = table.id.asc() if backwards else table.id.desc()
    if sort == "newest":
        created, number = table.created, table.number
        return [created.asc(), number.desc(), newest] if backwards else [created.desc(), number.asc(), newest]
    measures = (table.rules_broken, _distance())
    return [*(each.desc() if backwards else each.asc() for each in measures), newest]


def _parts_behind(sort: PortraitSort, row: "_Position") -> Sequence[sa.ColumnElement[bool]]:
    """What comes after this place of a list, in parts of which one follows the other.

    What follows of each from its last condition stands before it: by that the database begins in its index where the page does.
    """
    table, older = portraits.c, portraits.c.id < row.id
    if sort == "newest":
        worse = (table.number > row.number) | ((table.number == row.number) & older)
        return [
            (table.created <= row.created) & ((table.created < row.created) | (table.created == row.created) & worse)
        ]
    less_alike = (_distance() > row.distance) | ((_distance() == row.distance) & older)
    same_rules = (table.rules_broken == row.rules_broken) & (_distance() >= row.distance)
    return [same_rules & less_alike, table.rules_broken > row.rules_broken]


def _behind(sort: PortraitSort, row: "_Position") -> sa.ColumnElement[bool]:
    """Whether a portrait comes after this place of a list."""
    return sa.or_(*_parts_behind(sort, row))


@dataclass(frozen=True, slots=True)
class _Position:
    """What a portrait is sorted by."""

    id: str
    created: float = 0.0
    number: int = 0
    rules_broken: int = 0
    distance: float = UNMEASURED


def _position(row: PortraitRow) -> _Position:
    distance = UNMEASURED if row.distance is None else row.distance
    return _Position(row.id, row.created, row.number, row.rules_broken, distance)


def _cursor(sort: PortraitSort, row: PortraitRow) -> str:
    """The cursor behind a portrait: its id, and what else the list is sorted by."""
    at = _position(row)
    if sort == "newest":
        return f"{at.created!r}_{at.number}_{at.id}"
    return f"{at.rules_broken}_{at.distance!r}_{at.id}"


def _read_cursor(sort: PortraitSort, cursor: str) -> _Position:
    try:
        if sort == "newest":
            created, number, id = cursor.split("_", 2)
            return _Position(id, float(created), int(number))
        broken, distance, id = cursor.split("_", 2)
        return _Position(id, rules_broken=int(broken), distance=float(distance))
    except ValueError as error:
        raise UserError("bad_cursor", "This page belongs to another list. Begin at the first page.") from error


class TemplateRepository(Repository):
    """Pictures that owners uploaded to have people put into them; published styles are in `styles`."""

    def add(self, row: TemplateRow, most: int, pixels_a_day: int = usage.UNLIMITED) -> TemplateRow:
        """Insert a picture; raises `too_many_templates` beyond `most`, `quota_pixels` beyond what the owner may add a day."""
        with self.database.write() as connection:
            self.database.lock_owner(connection, row.owner)
            _require_room(connection, row.owner, most)
            usage.charge_pixels(connection, row.owner, row.width * row.height, pixels_a_day, row.created)
            connection.execute(sa.insert(templates).values(asdict(row)))
        return row

    def require_room(self, owner: str, most: int) -> None:
        """Raise `too_many_templates` for an owner who has `most` pictures."""
        with self.database.read() as connection:
            _require_room(connection, owner, most)

    def get(self, owner: str, id: str) -> TemplateRow:
        """One picture; raises `not_found`, `erased`."""
        return self._owned(TemplateRow, templates, owner, id)

    def list(self, owner: str, cursor: str | None = None, limit: int = 50) -> Page[TemplateRow]:
        """The owner's pictures, the newest first."""
        mine = sa.select(templates).where(templates.c.owner == owner, there(templates))
        return self._page(partial(row_as, TemplateRow), mine, cursor, limit)

    def state(self, owner: str, id: str, version: str) -> TemplateRow:
        """Note the statement that the people on a picture agreed, by the version of its text."""
        return self._change_owned(TemplateRow, templates, owner, id, statement=version)


def _require_room(connection: sa.Connection, owner: str, most: int) -> None:
    mine = sa.select(sa.func.count()).where(templates.c.owner == owner, there(templates))
    if (connection.scalar(mine) or 0) >= most:
        raise UserError("too_many_templates", f"There can be {most} pictures at most. Delete one first.")
