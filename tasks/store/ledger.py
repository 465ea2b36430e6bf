"""The ledger as one value: its parts are named after what they keep."""

from dataclasses import dataclass

from tasks.store.access import Access
from tasks.store.board import Board
from tasks.store.database import Database
from tasks.store.drafts import Drafts
from tasks.store.figures import Figures
from tasks.store.hooks import Hooks
from tasks.store.people import People
from tasks.store.portraits import Portraits
from tasks.store.queue import Queue
from tasks.store.staff import Staff
from tasks.store.styles import Styles
from tasks.store.templates import Templates


@dataclass(frozen=True, slots=True)
class Store:
    """One process's ledger; never carry it over a fork."""

    database: Database
    people: People
    jobs: Board
    queue: Queue
    portraits: Portraits
    styles: Styles
    drafts: Drafts
    templates: Templates
    access: Access
    hooks: Hooks
    staff: Staff
    figures: Figures

    def close(self) -> None:
        """Let go of every connection."""
        self.database.close()


def open_store(url: str) -> Store:
    """Open the ledger and bring its schema up to date; raises `OperatorError` (`bad_settings`, `database_unreachable`)."""
    database = Database(url)
    database.migrate()
    return Store(
        database,
        People(database),
        Board(database),
        Queue(database),
        Portraits(database),
        Styles(database),
        Drafts(database),
        Templates(database),
        Access(database),
        Hooks(database),
        Staff(database),
        Figures(database),
    )
