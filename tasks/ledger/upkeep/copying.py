"""Copies every row of one ledger into another database, in one transaction there, and compares them before it is committed."""

from collections.abc import Callable, Mapping

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from portrait.errors import OperatorError
from tasks.ledger.database import Database, DatabaseClock
from tasks.ledger.jobs import LIVE_SECONDS
from tasks.ledger.migrations import revisions
from tasks.ledger.tables import workers
from tasks.ledger.upkeep.tables import (
    Digest,
    count_rows,
    digest_of,
    insert_rows,
    read_rows,
    read_sequences,
    set_sequences,
    tables_of,
)

WRITTEN_BY_STARTING = ("consent_texts", "workers")
"""Tables into which an installation writes as soon as it runs."""
Report = Callable[[str, int], None]
"""Called with the name of a table and the number of its rows once they are copied and compared."""


def copy_ledger(source: Database, target: Database, report: Report = lambda *_: None) -> Mapping[str, Digest]:
    """Copy every row of every table; returns what each holds, by its name.

    Raises `OperatorError`: `older_ledger` where the source is not of the present schema, `newer_ledger`, `still_running` where
    somebody works with either, `not_empty` where the target holds rows, `copy_failed` where it does not take a row or does not
    hold the same afterwards; then it is as it was.
    """
    require_newest(source)
    for database in (source, target):
        require_stopped(database)
    require_empty(target)
    target.migrate()
    with source.snapshot() as reading, target.write() as writing:
        clear(writing)
        theirs = {table.name: table for table in tables_of(writing)}
        copied = {}
        for table in tables_of(reading):
            copied[table.name] = _copy_table(reading, writing, table, theirs[table.name])
            report(table.name, copied[table.name].rows)
        set_sequences(writing, read_sequences(reading, tables_of(reading)))
    return copied


def require_newest(database: Database) -> None:
    """Raise `OperatorError` (`older_ledger`, `newer_ledger`) for a database that is not of the present schema."""
    steps, revision = database.steps(), database.revision()
    if steps:
        raise OperatorError(
            "older_ledger",
            f"The database has the schema {revision or 'of no version'}, this program "
            f"{revisions.newest()}. Bring it there first: `portrait db upgrade`.",
        )


def require_empty(database: Database) -> None:
    """Raise `OperatorError` (`not_empty`) where a database holds rows, other than those that each start writes."""
    with database.read() as connection:
        tables = [table for table in tables_of(connection) if table.name not in WRITTEN_BY_STARTING]
        counted = {name: number for name, number in count_rows(connection, tables).items() if number}
    if counted:
        found = ", ".join(f"{number} {name}" for name, number in counted.items())
        raise OperatorError(
            "not_empty", f"The database holds rows already ({found}). Name an empty one: nothing was written."
        )


def require_stopped(database: Database) -> None:
    """Raise `OperatorError` (`still_running`) where a worker or keeper was heard of within a minute."""
    since = DatabaseClock(database)() - LIVE_SECONDS
    with database.read() as connection:
        known = {table.name for table in tables_of(connection)}
        live = sa.select(workers.c.id).where(workers.c.beat > since)
        running = connection.scalars(live).all() if workers.name in known else []
    if running:
        named = ", ".join(running)
        sentence = f"Something is running on the database ({named}). Stop everything, wait a minute, and try again."
        raise OperatorError("still_running", sentence)


def clear(connection: sa.Connection) -> None:
    """Delete what starting an installation wrote into a database that `require_empty` let pass."""
    for table in tables_of(connection):
        if table.name in WRITTEN_BY_STARTING:
            connection.execute(sa.delete(table))


def _copy_table(reading: sa.Connection, writing: sa.Connection, table: sa.Table, theirs: sa.Table) -> Digest:
    try:
        given = insert_rows(writing, theirs, read_rows(reading, table))
    except (DataError, IntegrityError, ValueError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        sentence = f"The other database does not take a row of {table.name}: {reason}. Nothing was copied."
        raise OperatorError("copy_failed", sentence) from error
    held = digest_of(writing, theirs)
    if (held.rows, held.sum) != (given.rows, given.sum):
        sentence = f"The copy of {table.name} has {held.rows} rows that are not the {given.rows} of before. Nothing was copied."
        raise OperatorError("copy_failed", sentence)
    return held
