"""Reads and writes all rows of a database of any schema that this program knows: for backups, copies and checks.

The tables are reflected, so that what was written by an earlier version is read with the columns that it had.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import SAWarning

Row: TypeAlias = Mapping[str, Any]
BATCH = 500
"""Rows that are in memory at once."""
NOT_ROWS = ("alembic_version", "holdings", "waiting")
"""The table of the migrations themselves, and what triggers keep of the others wherever these are written."""


@dataclass(slots=True)
class Digest:
    """What a table holds, whatever the order of its rows: their number, and the sum of their SHA-256."""

    rows: int = 0
    _sum: int = 0

    def add(self, row: Row) -> None:
        """Count a row in, whatever the order of its columns."""
        self.rows += 1
        line = json.dumps(dict(row), sort_keys=True, separators=(",", ":"))
        self._sum += int.from_bytes(hashlib.sha256(line.encode()).digest())

    @property
    def sum(self) -> str:
        """The sum modulo 2²⁵⁶, in hexadecimal."""
        return f"{self._sum % 2**256:064x}"


def row_to_line(row: Row) -> str:
    """Return a row as one line of JSON, from which it is read as it was."""
    return json.dumps(dict(row), separators=(",", ":"))


def tables_of(connection: sa.Connection) -> Sequence[sa.Table]:
    """Return the tables of a database, each after those that its rows refer to; empty where there are none yet."""
    found = sa.MetaData()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index", SAWarning)
        found.reflect(connection)
    for column in (column for table in found.tables.values() for column in table.c):
        if isinstance(column.type, sa.JSON) and column.nullable:
            column.type = sa.JSON(none_as_null=True)  # as all columns of `tasks.ledger.tables` that may be empty
    return [table for table in found.sorted_tables if table.name not in NOT_ROWS]


def count_rows(connection: sa.Connection, tables: Sequence[sa.Table]) -> dict[str, int]:
    """Count the rows of each table, by its name."""
    return {table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables}


def read_rows(connection: sa.Connection, table: sa.Table) -> Iterator[Row]:
    """Yield every row of a table, of which a batch is in memory at once."""
    for row in connection.execute(sa.select(table), execution_options={"stream_results": True, "yield_per": BATCH}):
        yield dict(row._mapping)


def insert_rows(connection: sa.Connection, table: sa.Table, rows: Iterable[Row]) -> Digest:
    """Insert rows in batches; returns what was inserted. Columns that a row lacks must have a default."""
    digest, inserted = Digest(), iter(rows)
    while batch := list(islice(inserted, BATCH)):
        connection.execute(sa.insert(table), [dict(row) for row in batch])
        for row in batch:
            digest.add(row)
    return digest


def digest_of(connection: sa.Connection, table: sa.Table) -> Digest:
    """Read a table whole, and return what it holds."""
    digest = Digest()
    for row in read_rows(connection, table):
        digest.add(row)
    return digest


def read_sequences(connection: sa.Connection, tables: Sequence[sa.Table]) -> dict[str, int]:
    """Return the highest id that was ever given out in each table that numbers its rows, by its name.

    A stream of events goes on after the last id that it sent, so that an id must never come a second time.
    """
    return {table.name: _last_number(connection, table) for table in tables if _is_numbered(table)}


def set_sequences(connection: sa.Connection, numbers: Mapping[str, int]) -> None:
    """Have the next row of each table be numbered after these."""
    for table, number in numbers.items():
        if connection.dialect.name != "sqlite":
            if number:
                sequence = sa.func.pg_get_serial_sequence(table, "id")
                connection.execute(sa.select(sa.func.setval(sequence, number)))
        elif _remembers_numbers(connection, table):
            written = sa.update(_SEQUENCES).where(_SEQUENCES.c.name == table).values(seq=number)
            if not connection.execute(written).rowcount:
                connection.execute(sa.insert(_SEQUENCES).values(name=table, seq=number))


_SEQUENCES = sa.table("sqlite_sequence", sa.column("name", sa.String), sa.column("seq", sa.Integer))
"""Where SQLite remembers the highest id of tables with AUTOINCREMENT."""


def _is_numbered(table: sa.Table) -> bool:
    # Not by the primary key, to which the time belongs where events lie in a table a month.
    return "id" in table.c and isinstance(table.c.id.type, sa.Integer)


def _last_number(connection: sa.Connection, table: sa.Table) -> int:
    if connection.dialect.name != "sqlite":
        sequence = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(table.name, "id")))
        last, used = connection.exec_driver_sql(f"SELECT last_value, is_called FROM {sequence}").one()  # noqa: S608
        return int(last) if used else int(last) - 1
    if _remembers_numbers(connection, table.name):
        chosen = sa.select(_SEQUENCES.c.seq).where(_SEQUENCES.c.name == table.name)
        return int(connection.scalar(chosen) or 0)
    return int(connection.scalar(sa.select(sa.func.max(table.c.id))) or 0)


def _remembers_numbers(connection: sa.Connection, table: str) -> bool:
    made = connection.scalar(sa.text("SELECT sql FROM sqlite_master WHERE name = :table"), {"table": table})
    return "AUTOINCREMENT" in str(made)
