"""Finds what is wrong in a ledger: its schema, pages, and rows that refer to rows that do not exist. It changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tasks.ledger.database import Database
from tasks.ledger.migrations import revisions
from tasks.ledger.upkeep.tables import count_rows, tables_of

MOST_FAULTS = 100
"""Faults of SQLite's pages that are told."""


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """What was found in a ledger."""

    database: str
    """`sqlite` or `postgresql`."""
    schema: str | None
    """The revision of its schema; None where there is no table yet."""
    newest: str
    """The revision that this program has."""
    steps: Sequence[str]
    """Revisions that `portrait db upgrade` would bring."""
    rows: Mapping[str, int]
    """By table."""
    integrity: Sequence[str]
    """What SQLite finds wrong in its file, in its own words; PostgreSQL checks its pages itself, as it reads them."""
    foreign_keys: Mapping[str, int]
    """Rows that refer to a row that is gone, by `table.column`."""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.steps or self.integrity or self.foreign_keys)


def check_ledger(database: Database) -> LedgerCheck:
    """Look through a whole database; raises `OperatorError` (`newer_ledger`, `database_unreachable`)."""
    schema, steps = database.revision(), database.steps()
    with database.snapshot() as connection:
        tables = tables_of(connection)
        return LedgerCheck(
            database.engine.dialect.name,
            schema,
            revisions.newest(),
            [revision for revision, _ in steps],
            count_rows(connection, tables),
            _page_faults(connection) if database.sqlite else (),
            _broken_keys(connection, tables),
        )


def _page_faults(connection: sa.Connection) -> Sequence[str]:
    found = connection.exec_driver_sql(f"PRAGMA integrity_check({MOST_FAULTS})").scalars().all()
    return [] if list(found) == ["ok"] else list(found)


def _broken_keys(connection: sa.Connection, tables: Sequence[sa.Table]) -> Mapping[str, int]:
    found = {}
    for table in tables:
        for key in (key for column in table.c for key in column.foreign_keys):
            target = key.column.table.alias("target")
            joined = table.outerjoin(target, key.parent == target.c[key.column.name])
            gone = sa.select(sa.func.count()).select_from(joined)
            gone = gone.where(key.parent.is_not(None), target.c[key.column.name].is_(None))
            if number := connection.scalar(gone):
                found[f"{table.name}.{key.parent.name}"] = number
    return found
