"""The styles of this home for one command: its ledger and its files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.files import Files
from tasks.ledger.ledger import Store, open_store
from tasks.settings import Installation, load_installation
from tasks.styles.available import Offered
from tasks.styles.service import Workshop

WHO = "command line"
"""Whom a draft names that was changed by a command."""


@contextmanager
def workshop() -> Iterator[Workshop]:
    """Own styles, to work on them; makes the ledger where there is none. Raises `OperatorError`."""
    installation = load_installation()
    store = open_store(installation.tasks.database)
    try:
        yield Workshop(store, Files(installation.tasks.data))
    finally:
        store.close()


@contextmanager
def offered() -> Iterator[Offered]:
    """What portraits can look like; a home without a ledger stays without one. Raises `OperatorError`."""
    installation = load_installation()
    store: Store | None = open_store(installation.tasks.database) if _kept(installation) else None
    try:
        yield Offered(store, Files(installation.tasks.data))
    finally:
        if store is not None:
            store.close()


def _kept(installation: Installation) -> bool:
    """Whether there is a ledger: a file of SQLite's that is there, or any other database."""
    kind, _, place = installation.tasks.database.partition(":///")
    return kind != "sqlite" or Path(place).is_file()
