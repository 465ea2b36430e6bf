"""Opens the styles of this installation for one command, its ledger and its files; fetches the LoRAs that they name."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from app.terminal.progress_bar import ProgressBar
from pipelines.model_store.add import NewModel
from pipelines.model_store.store import ModelStore
from portrait.errors import OperatorError, UserError
from tasks.files import open_files
from tasks.ledger.database import sqlite_file
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.settings import Installation, load, load_installation
from tasks.styles.available import AvailableStyles
from tasks.styles.service import StyleService
from templates.catalog import Entry
from templates.imported import UNKNOWN, Skipped
from templates.schema import StyleFile

AUTHOR = "command line"
"""Author of drafts that a command changed."""


@contextmanager
def open_style_service() -> Iterator[StyleService]:
    """Own styles, to work on them; makes the ledger where there is none. Raises `OperatorError`."""
    installation = load_installation()
    store = open_ledger(installation.tasks.database)
    try:
        yield StyleService(store, open_files(installation.tasks), settings=installation.flows)
    finally:
        store.close()


@contextmanager
def open_available_styles() -> Iterator[AvailableStyles]:
    """The available styles; a home without a ledger stays without one. Raises `OperatorError`."""
    installation = load_installation()
    store: Ledger | None = open_ledger(installation.tasks.database) if ledger_exists(installation) else None
    try:
        yield AvailableStyles(store, open_files(installation.tasks))
    finally:
        if store is not None:
            store.close()


def find_style(available: AvailableStyles, name: str, version: int | None = None) -> Entry:
    """One of the available styles; raises `UserError` (`unknown_style`), which says so where there is a draft of that name."""
    try:
        return available.find(name, version)
    except UserError as error:
        if version is not None or available.ledger is None or available.ledger.drafts.find(name) is None:
            raise
        sentence = (
            f"{name} is a draft, which is drawn for nobody yet: run `portrait styles check {name}`, then publish it."
        )
        raise UserError(error.code, sentence) from error


def fetch_loras(styles: Iterable[StyleFile]) -> tuple[list[str], list[Skipped]]:
    """Add the LoRAs of styles to the model store that say from where they come; returns their names, and which did not come.

    Nobody says under which licence they may be used: they are noted as unknown.
    """
    store = ModelStore(load().models)
    known = {model.name for model in store.of_kind("lora")}
    wanted = {lora.model: (lora, style.id) for style in styles for lora in style.loras if lora.source}
    fetched: list[str] = []
    missing: list[Skipped] = []
    with ProgressBar(in_bytes=True) as bar:
        for name, (lora, style) in sorted(wanted.items()):
            if name in known:
                continue
            try:
                store.add(NewModel(name, "lora", lora.source, UNKNOWN, "ask"), bar)
            except OperatorError as error:
                missing.append(Skipped(style, "loras", error.message))
            else:
                fetched.append(name)
    return fetched, missing


def ledger_exists(installation: Installation) -> bool:
    """Whether there is a ledger: a file of SQLite's that is there, or any other database."""
    file = sqlite_file(installation.tasks.database)
    return file is None or file.is_file()
