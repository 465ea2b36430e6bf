"""The ledger as one value: its parts are named after what they keep."""

from dataclasses import dataclass

from tasks.ledger.database import Database
from tasks.ledger.drafts import Drafts
from tasks.ledger.jobs import Board
from tasks.ledger.keys import Access
from tasks.ledger.people import People
from tasks.ledger.portraits import Portraits
from tasks.ledger.queue import Queue
from tasks.ledger.statistics import Figures
from tasks.ledger.styles import Styles
from tasks.ledger.templates import Templates
from tasks.ledger.webhooks import Hooks
from tasks.ledger.workers import Staff


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
