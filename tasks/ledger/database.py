"""Opens the database, migrates it to the present schema, and gives out transactions.

SQLite is used from several processes at once: write-ahead log, 30 s of busy timeout, and every transaction that writes begins
with the lock it needs (`BEGIN IMMEDIATE`), because a read that turns into a write fails at once when another wrote between.
An engine must not cross a fork: open the database in the process that uses it.
"""

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from portrait.errors import OperatorError
from tasks.ledger.connections.engine import BUSY_TIMEOUT, MIGRATES, WRITES, open_engine
from tasks.ledger.migrations import revisions
from tasks.ledger.tables import metadata

SCRUB_TIMEOUT_MS = 500
"""Milliseconds to wait for readers before the write-ahead log is emptied another time."""
_OVERWRITES = "0009"
"""The revision since which what is deleted in SQLite is overwritten."""
REWRITE_TIMEOUT_MS = 2000
"""Milliseconds to wait for whoever uses a table before it is left for the next time."""
_MIGRATION_LOCK = 7_301_442
"""Any number: PostgreSQL's advisory lock that lets one process migrate."""
REWRITE_LOCK = 7_301_443
"""Another number: the advisory lock that lets one process write tables anew."""
_STATISTICS = ("pg_statistic",)
"""PostgreSQL's samples of columns, which hold values of rows; who owns the database may have them written anew."""
_LOCK_NOT_AVAILABLE = "55P03"
_DISK_FULL = "53100"
READ_AGAIN = 60.0
"""Seconds for which the difference to the database's clock is kept: ordinary clocks drift by milliseconds in that time."""
TOLERATED_SKEW = 5.0
"""Seconds by which a machine's clock may differ before it is told."""


class Database:
    """The connections of one process to one database."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self.sqlite = self.engine.dialect.name == "sqlite"
        self._writer = threading.Lock()
        self._writing = self.engine.execution_options(**WRITES)
        # PostgreSQL shows each query what was committed before it, within a transaction too, whose ends are two messages more.
        self._reading = self.engine if self.sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a connection for queries that change nothing; raises `OperatorError` (`database_unreachable`).

        On SQLite all see the same state, on PostgreSQL each what was committed before it: see `snapshot`.
        """
        with _translate_errors(), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a short transaction that writes: committed in full, or on any exception rolled back."""
        with _translate_errors(), self._turn(), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Have the threads of this process write to SQLite one after the other: itself it looks for its turn in ever longer
        steps, up to a tenth of a second, and lets who came last go first."""
        taken = self.sqlite and self._writer.acquire(timeout=BUSY_TIMEOUT)
        try:
            yield
        finally:
            if taken:
                self._writer.release()

    @contextmanager
    def within(self, connection: sa.Connection | None) -> Iterator[sa.Connection]:
        """Go on in the caller's transaction, or without one open a transaction that writes."""
        if connection is not None:
            yield connection
        else:
            with self.write() as opened:
                yield opened

    def lock_owner(self, connection: sa.Connection, owner: str) -> None:
        """Lock out other transactions of the same owner until this one ends, so that two cannot both pass a quota.

        On SQLite nothing is to do: it has one writer.
        """
        if not self.sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(owner))))

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """Open a transaction that reads everything as it was at its first query, whatever is written meanwhile."""
        # SQLite's write-ahead log keeps what a reader has begun to read.
        engine = self.engine if self.sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ")
        with _translate_errors(), engine.begin() as connection:
            yield connection

    def migrate(self, to: str = "head") -> None:
        """Migrate the schema to the newest version, or to `to`; processes that start together wait for the first.

        Where it is that already, no writer is waited for. Raises `OperatorError` (`newer_ledger`) where a newer program did it.
        """
        newest = revisions.newest() if to == "head" else to
        with self._migration_lock():
            before = self.revision()
            if before == newest:
                return
            _check_known(before)
            self._upgrade(newest)
        if self.sqlite and before is not None and before < _OVERWRITES:
            self._overwrite_free_pages()

    def steps(self) -> Sequence[tuple[str, str]]:
        """Return what `migrate` would do: revision and purpose of each step; raises `OperatorError` (`newer_ledger`)."""
        before = self.revision()
        _check_known(before)
        return revisions.steps(before)

    def _upgrade(self, to: str) -> None:
        with _translate_errors(), self.engine.execution_options(**MIGRATES).begin() as connection:
            if not self.sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            revisions.upgrade(connection, metadata, to)
            if self.sqlite:
                _check_foreign_keys(connection)
        self.engine.dispose()  # the connection that migrated does not enforce foreign keys

    def revision(self) -> str | None:
        """Return the revision of the schema; None for a database without one."""
        with self.read() as connection:
            return revisions.current(connection)

    def scrub(self) -> bool:
        """Overwrite what was deleted also in SQLite's write-ahead log; False when somebody reads from it just now.

        On PostgreSQL deleted rows stay in its files until `rewrite`.
        """
        if not self.sqlite:
            return True
        with _translate_errors():
            connection = self.engine.raw_connection()
            try:
                cursor = connection.cursor()
                cursor.execute(f"PRAGMA busy_timeout = {SCRUB_TIMEOUT_MS}")
                (busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000}")
                cursor.close()
            finally:
                connection.close()
        return not busy

    def rewrite(self) -> bool:
        """Take deleted rows out of PostgreSQL's files by writing each table anew, which locks it for so long.

        False when one was in use, or another process is at it. SQLite overwrites what it deletes at once.
        """
        if self.sqlite:
            return True
        with _translate_errors(), self.engine.connect() as opened:
            connection = opened.execution_options(isolation_level="AUTOCOMMIT")
            if not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(REWRITE_LOCK))):
                return False
            try:
                connection.exec_driver_sql(f"SET lock_timeout = {REWRITE_TIMEOUT_MS}")
                rewritten = [_rewrite_table(connection, each) for each in (*metadata.tables, *_STATISTICS)]
                with suppress(ProgrammingError):  # only some users may ask for it; the server does it every few minutes
                    connection.exec_driver_sql("CHECKPOINT")
            finally:
                connection.exec_driver_sql("RESET lock_timeout")
                connection.scalar(sa.select(sa.func.pg_advisory_unlock(REWRITE_LOCK)))
        return all(rewritten)

    def _overwrite_free_pages(self) -> None:
        """Take what earlier versions deleted without overwriting it out of SQLite's file; not while others use it."""
        connection = self.engine.raw_connection()
        try:
            with suppress(sqlite3.OperationalError):
                connection.cursor().execute("VACUUM")
        finally:
            connection.close()
        self.scrub()

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
        # A group that may write in the folder takes part in the lock.
        with FileLock(f"{place}.lock", mode=Path(place).absolute().parent.stat().st_mode & 0o660):
            yield


@dataclass(slots=True)
class DatabaseClock:
    """One time for all machines, that of the database, in seconds since 1970.

    Between two readings this machine's steady clock counts on. On SQLite all processes are on one machine, whose clock it is.
    """

    database: Database
    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _offset: float | None = None
    """The database's time less the steady clock."""
    _read: float = 0.0

    def __call__(self) -> float:
        """Return the time now; raises `OperatorError` (`database_unreachable`) where it was never known."""
        if self.database.sqlite:
            return self.wall()
        with self._lock:
            known = self._offset
            if known is None or self.steady() - self._read > READ_AGAIN:
                known = self._offset = self._read_offset(known)
            return self.steady() + known

    def skew(self) -> float:
        """Return the seconds by which this machine's clock is ahead of the database's; negative where it is behind."""
        return self.wall() - self()

    def _read_offset(self, known: float | None) -> float:
        """Return the offset, or the one that was known where the database does not answer."""
        began = self.steady()
        self._read = began
        try:
            with self.database.read() as connection:
                # Not `now()`, which stands still within a transaction.
                there = float(connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())")))
        except OperatorError:
            if known is None:
                raise
            return known
        return there - (began + self.steady()) / 2


def _rewrite_table(connection: sa.Connection, table: str) -> bool:
    try:
        connection.exec_driver_sql(f'VACUUM (FULL, ANALYZE) "{table}"')
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
            raise
        return False
    return True


def new_id(prefix: str, now: float, rank: int = 0) -> str:
    """Return a new id that sorts by age; of several made at once, the one with the smaller `rank` sorts as newer."""
    return f"{prefix}_{round(now * 1000) - rank:011x}{secrets.token_hex(8)}"


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite database; None for other ones, and for addresses that cannot be read."""
    try:
        address = sa.make_url(url)
    except ArgumentError:
        return None
    return Path(address.database) if address.get_backend_name() == "sqlite" and address.database else None


def _check_known(revision: str | None) -> None:
    """Raise `OperatorError` (`newer_ledger`) for a schema that this version of the program does not know."""
    if revision is not None and not revisions.knows(revision):
        raise OperatorError(
            "newer_ledger",
            f"The database was migrated by a newer version of this program (schema {revision}, this one knows up to "
            f"{revisions.newest()}). Update the program here, or restore a copy of the database from before.",
        )


def _check_foreign_keys(connection: sa.Connection) -> None:
    """Roll a migration back that left rows without the row they refer to; raises `OperatorError` (`bad_ledger`)."""
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        tables = ", ".join(sorted({str(row[0]) for row in broken}))
        raise OperatorError(
            "bad_ledger",
            f"The database could not be migrated: rows of {tables} refer to rows that are gone. It is as it was.",
        )


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError, sqlite3.OperationalError) as error:
        original = getattr(error, "orig", None) or error
        if _is_disk_full(original):
            sentence = "The disk of the database is full. Free some space and try again."
            raise OperatorError("disk_full", sentence) from error
        raise OperatorError(
            "database_unreachable", f"The database does not answer: {type(original).__name__}. Try again in a moment."
        ) from error


def _is_disk_full(error: BaseException) -> bool:
    """Whether SQLite or PostgreSQL refused to write for want of space."""
    code = getattr(error, "sqlite_errorcode", 0)
    # Where not even the index of the write-ahead log finds room, SQLite calls it a fault of the disk.
    full = code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE
    return full or getattr(error, "sqlstate", "") == _DISK_FULL
