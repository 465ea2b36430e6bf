"""SQLAlchemy's engine of a ledger: which driver, how many connections, and how a transaction begins.

Most requests read a few rows, so that a connection is asked whether it still lives only where nobody used it for a while.
"""

import os
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DisconnectionError

from portrait.errors import OperatorError

BUSY_TIMEOUT = 30
"""Seconds to wait for SQLite's one writer."""
WRITES = {"portrait_writes": True}
"""Execution options of a transaction that writes …"""
MIGRATES = {"portrait_writes": True, "portrait_migrates": True}
"""… and of one that migrates the schema."""
CONNECTIONS = 15
"""Connections of a process at most. They stay open: a server's new connection is a new process of its own."""
IDLE_SECONDS = 1.0
"""Seconds without use after which a connection to a server is asked whether it still lives, before it is used again."""
_FORBIDDEN = (
    "The database belongs to another user: it may not be read and written. Run all parts as one user, or give them a group "
    "(tasks.files.group, tasks.files.group_writes)."
)


def open_engine(url: str) -> sa.Engine:
    """Open the engine of a database; no connection is made yet.

    Raises `OperatorError`: `missing_library`, `no_permission`, `bad_settings`, `cannot_write`.
    """
    try:
        address = sa.make_url(url)
        if address.drivername in {"postgresql", "postgres"}:
            address = address.set(drivername="postgresql+psycopg")
        if address.get_backend_name() == "sqlite" and address.database:
            _prepare_file(address.database)
        in_memory = address.get_backend_name() == "sqlite" and address.database in (None, "", ":memory:")
        pool: dict[str, Any] = {} if in_memory else {"pool_size": CONNECTIONS, "max_overflow": 0}
        engine = sa.create_engine(address, **pool)
    except ImportError as error:
        raise OperatorError(
            "missing_library", f"The database of the settings needs a library that is not here ({error})."
        ) from error
    except PermissionError as error:
        raise OperatorError("no_permission", _FORBIDDEN) from error
    except ArgumentError as error:
        raise OperatorError("bad_settings", "The database of the settings (tasks.database) cannot be used.") from error
    except OSError as error:
        sentence = (
            f"The database cannot be made or opened in its place: {error.strerror}. Name another one: PORTRAIT_HOME, or "
            "tasks.database."
        )
        raise OperatorError("cannot_write", sentence) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", lambda *given: _check_idle(engine.dialect, *given))
    return engine


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _check_idle(dialect: sa.Dialect, connection: Any, record: Any, _pooled: Any) -> None:
    """Have the pool replace a connection that lay idle and does not answer any more."""
    if time.monotonic() - record.info.get("used", time.monotonic()) < IDLE_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise DisconnectionError from error


def _prepare_file(database: str) -> None:
    """Make a SQLite file that is not there, and check that this user may use one that is; raises `OSError`."""
    place = Path(database)
    place.parent.mkdir(parents=True, exist_ok=True)
    if database == ":memory:":
        return
    if not place.exists():
        place.touch(0o666)  # less what the umask takes away: SQLite's own mode lets no group write
    if not os.access(place, os.R_OK | os.W_OK):
        raise PermissionError


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver shall not begin transactions of its own
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    # The driver's own call: as a statement of SQLAlchemy's it would take longer than many a query.
    execute = connection.connection.execute
    if options.get("portrait_migrates"):
        # A migration that copies a table drops the old one, which would delete the rows that refer to it. Has no effect once
        # a transaction has begun.
        execute("PRAGMA foreign_keys = OFF")
    execute("BEGIN IMMEDIATE" if options.get("portrait_writes") else "BEGIN")
