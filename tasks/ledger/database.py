"""Opens the database, migrates it to the present schema, and gives out transactions.

SQLite is used from several processes at once: write-ahead log, 30 s of busy timeout, and every transaction that writes begins
with the lock it needs (`BEGIN IMMEDIATE`), because a read that turns into a write fails at once when another wrote between.
An engine must not cross a fork: open the database in the process that uses it.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, OperationalError

from portrait.errors import OperatorError
from tasks.ledger.tables import metadata

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT = 30
"""Seconds to wait for SQLite's one writer."""
_WRITES = {"portrait_writes": True}
_MIGRATION_LOCK = 7_301_442
"""Any number: PostgreSQL's advisory lock that lets one process migrate."""


class Database:
    """The connections of one process to one database."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.sqlite = self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a short transaction that only reads; raises `OperatorError` (`database_unreachable`)."""
        with _translate_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a short transaction that writes: committed in full, or on any exception rolled back."""
        with _translate_errors(), self.engine.execution_options(**_WRITES).begin() as connection:
            yield connection

    def lock_owner(self, connection: sa.Connection, owner: str) -> None:
        """Lock out other transactions of the same owner until this one ends, so that two cannot both pass a quota.

        On SQLite nothing is to do: it has one writer.
        """
        if not self.sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(owner))))

    def migrate(self) -> None:
        """Migrate the schema to the newest version; processes that start together wait for the first."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with (
            _translate_errors(),
            self._migration_lock(),
            self.engine.execution_options(**_WRITES).begin() as connection,
        ):
            if not self.sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            config.attributes["metadata"] = metadata
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _migration_lock(self) -> Iterator[None]:
        """On SQLite: hold a lock file beside the database, since turning on the write-ahead log needs it exclusively."""
        place = self.engine.url.database
        if not self.sqlite or not place or place == ":memory:":
            yield
            return
        with FileLock(f"{place}.lock"):
            yield


def new_id(prefix: str, now: float, rank: int = 0) -> str:
    """Return a new id that sorts by age; of several made at once, the one with the smaller `rank` sorts as newer."""
    return f"{prefix}_{round(now * 1000) - rank:011x}{secrets.token_hex(8)}"


def _engine(url: str) -> sa.Engine:
    try:
        address = sa.make_url(url)
        if address.drivername in {"postgresql", "postgres"}:
            address = address.set(drivername="postgresql+psycopg")
        if address.get_backend_name() == "sqlite" and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {} if address.get_backend_name() == "sqlite" else {"pool_pre_ping": True}
        engine = sa.create_engine(address, **options)
    except ImportError as error:
        raise OperatorError(
            "missing_library", f"The database of the settings needs a library that is not here ({error})."
        ) from error
    except (ArgumentError, OSError) as error:
        raise OperatorError("bad_settings", "The database of the settings (tasks.database) cannot be used.") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver shall not begin transactions of its own
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("portrait_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise OperatorError(
            "database_unreachable", f"The database does not answer: {type(error.orig).__name__}. Try again in a moment."
        ) from error
