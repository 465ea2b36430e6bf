"""The ledger of one process: the database and its repositories."""

from pathlib import Path

from tasks.ledger.access.api_keys import ApiKeyRepository
from tasks.ledger.access.audit import AuditRepository
from tasks.ledger.access.owners import OwnerRepository
from tasks.ledger.access.sessions import SessionRepository
from tasks.ledger.database import Database, DatabaseClock
from tasks.ledger.idempotency import IdempotencyRepository
from tasks.ledger.jobs import JobRepository
from tasks.ledger.people import PersonRepository
from tasks.ledger.pictures import PortraitRepository, TemplateRepository
from tasks.ledger.privacy.ages import AgeRepository
from tasks.ledger.privacy.blocked_people import BlockedPersonRepository
from tasks.ledger.privacy.consents import ConsentRepository
from tasks.ledger.privacy.erasures import ErasureRepository
from tasks.ledger.privacy.journal import ErasureJournal
from tasks.ledger.privacy.retention import RetentionRepository
from tasks.ledger.privacy.undo import UndoRepository
from tasks.ledger.queue import JobQueue
from tasks.ledger.statistics import StatisticsRepository
from tasks.ledger.styles import DraftRepository, StyleRepository
from tasks.ledger.usage import UsageRepository
from tasks.ledger.webhooks import WebhookRepository
from tasks.ledger.workers import WorkerRegistry


class Ledger:
    """The repositories over one database; must not cross a fork."""

    def __init__(self, database: Database, journal: ErasureJournal | None = None) -> None:
        self.database = database
        self.journal = journal
        self.now = DatabaseClock(database)
        self.people = PersonRepository(database)
        self.jobs = JobRepository(database)
        self.queue = JobQueue(database)
        self.portraits = PortraitRepository(database)
        self.styles = StyleRepository(database)
        self.drafts = DraftRepository(database)
        self.templates = TemplateRepository(database)
        self.api_keys = ApiKeyRepository(database)
        self.sessions = SessionRepository(database)
        self.owners = OwnerRepository(database)
        self.audit = AuditRepository(database)
        self.erasures = ErasureRepository(database)
        self.consents = ConsentRepository(database)
        self.ages = AgeRepository(database)
        self.blocked_people = BlockedPersonRepository(database)
        self.retention = RetentionRepository(database)
        self.undo = UndoRepository(database)
        self.idempotency = IdempotencyRepository(database)
        self.usage = UsageRepository(database)
        self.webhooks = WebhookRepository(database)
        self.workers = WorkerRegistry(database)
        self.statistics = StatisticsRepository(database)

    def close(self) -> None:
        """Close every connection."""
        self.database.close()


def open_ledger(url: str, journal: Path | None = None) -> Ledger:
    """Open the ledger and migrate its schema; raises `OperatorError` (`bad_settings`, `database_unreachable`).

    What is erased with it is noted in the journal, where one is named.
    """
    database = Database(url)
    database.migrate()
    return Ledger(database, ErasureJournal(journal) if journal else None)
