"""The ledger of one process: the database and its repositories."""

from dataclasses import dataclass

from tasks.ledger.api_keys import ApiKeyRepository
from tasks.ledger.database import Database
from tasks.ledger.idempotency import IdempotencyRepository
from tasks.ledger.jobs import JobRepository
from tasks.ledger.people import PersonRepository
from tasks.ledger.pictures import PortraitRepository, TemplateRepository
from tasks.ledger.queue import JobQueue
from tasks.ledger.statistics import StatisticsRepository
from tasks.ledger.styles import DraftRepository, StyleRepository
from tasks.ledger.webhooks import WebhookRepository
from tasks.ledger.workers import WorkerRegistry


@dataclass(frozen=True, slots=True)
class Ledger:
    """The repositories over one database; must not cross a fork."""

    database: Database
    people: PersonRepository
    jobs: JobRepository
    queue: JobQueue
    portraits: PortraitRepository
    styles: StyleRepository
    drafts: DraftRepository
    templates: TemplateRepository
    api_keys: ApiKeyRepository
    idempotency: IdempotencyRepository
    webhooks: WebhookRepository
    workers: WorkerRegistry
    statistics: StatisticsRepository

    def close(self) -> None:
        """Close every connection."""
        self.database.close()


def open_ledger(url: str) -> Ledger:
    """Open the ledger and migrate its schema; raises `OperatorError` (`bad_settings`, `database_unreachable`)."""
    database = Database(url)
    database.migrate()
    return Ledger(
        database,
        PersonRepository(database),
        JobRepository(database),
        JobQueue(database),
        PortraitRepository(database),
        StyleRepository(database),
        DraftRepository(database),
        TemplateRepository(database),
        ApiKeyRepository(database),
        IdempotencyRepository(database),
        WebhookRepository(database),
        WorkerRegistry(database),
        StatisticsRepository(database),
    )
