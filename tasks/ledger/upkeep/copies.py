"""The copy of a SQLite file that stays beside it while an upgrade proves itself, and goes after some days.

People who are erased meanwhile are still in it, which is why it is not kept for longer.
"""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from portrait.errors import OperatorError
from tasks.ledger.database import Database

KEPT_SECONDS = 7 * 86_400.0
"""Seconds for which a copy is kept."""


def copy_beside(database: Database, now: float) -> Path | None:
    """Copy a SQLite file whole, also while it is written to; returns the copy, which this user alone may read.

    None for another database, and where there is no table yet. Raises `OperatorError` (`disk_full`, `cannot_write`).
    """
    place, revision = _file_of(database), database.revision()
    if place is None or revision is None:
        return None
    copy = place.with_name(f"{place.name}.{revision}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}.copy")
    try:
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(place)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except (OSError, sqlite3.Error) as error:
        copy.unlink(missing_ok=True)
        sentence = (
            f"The database cannot be copied to {copy} before it is upgraded: {error}. Free some space; it is as it was."
        )
        raise OperatorError("cannot_write", sentence) from error
    return copy


def remove_old_copies(database: Database, now: float) -> int:
    """Remove copies that are older than `KEPT_SECONDS`; returns how many. Raises `OSError`."""
    removed = 0
    for copy in _copies(database):
        with suppress(FileNotFoundError):  # Another keeper was first.
            if now - copy.stat().st_mtime > KEPT_SECONDS:
                copy.unlink()
                removed += 1
    return removed


def _copies(database: Database) -> Iterator[Path]:
    place = _file_of(database)
    if place is not None:
        name = re.compile(rf"{re.escape(place.name)}\.\w+\.\d{{8}}T\d{{6}}\.copy")
        yield from (each for each in place.parent.iterdir() if name.fullmatch(each.name))


def _file_of(database: Database) -> Path | None:
    place = database.engine.url.database
    return Path(place) if database.sqlite and place and place != ":memory:" else None
