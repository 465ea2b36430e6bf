"""Opens the styles of this installation for one command: its ledger and its files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.files import Files
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.settings import Installation, load_installation
from tasks.styles.available import AvailableStyles
from tasks.styles.service import StyleService

AUTHOR = "command line"
"""Author of drafts that a command changed."""


@contextmanager
def open_style_service() -> Iterator[StyleService]:
    """Own styles, to work on them; makes the ledger where there is none. Raises `OperatorError`."""
    installation = load_installation()
    store = open_ledger(installation.tasks.database)
    try:
        yield StyleService(store, Files(installation.tasks.data))
    finally:
        store.close()


@contextmanager
def open_available_styles() -> Iterator[AvailableStyles]:
    """The available styles; a home without a ledger stays without one. Raises `OperatorError`."""
    installation = load_installation()
    store: Ledger | None = open_ledger(installation.tasks.database) if _ledger_exists(installation) else None
    try:
        yield AvailableStyles(store, Files(installation.tasks.data))
    finally:
        if store is not None:
            store.close()


def _ledger_exists(installation: Installation) -> bool:
    """Whether there is a ledger: a file of SQLite's that is there, or any other database."""
    kind, _, place = installation.tasks.database.partition(":///")
    return kind != "sqlite" or Path(place).is_file()
