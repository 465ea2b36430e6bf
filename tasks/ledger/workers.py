"""The worker processes: their abilities and their heartbeats."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from tasks.ledger.database import Database
from tasks.ledger.jobs import LIVE_SECONDS
from tasks.ledger.rows import WorkerRow, row_as
from tasks.ledger.tables import workers


@dataclass(frozen=True, slots=True)
class WorkerRegistry:
    """Worker processes that are running."""

    database: Database

    def register(self, worker: WorkerRow) -> None:
        """Insert a worker, or replace its row."""
        with self.database.write() as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == worker.id))
            connection.execute(sa.insert(workers).values(asdict(worker)))

    def heartbeat(self, id: str, now: float) -> bool:
        """Set a worker's heartbeat; False when the ledger has no row of it (any more): then it registers again."""
        with self.database.write() as connection:
            return connection.execute(sa.update(workers).where(workers.c.id == id).values(beat=now)).rowcount == 1

    def is_stopping(self, id: str) -> bool:
        """Whether a worker has been requested to stop."""
        with self.database.read() as connection:
            return bool(connection.execute(sa.select(workers.c.stopping).where(workers.c.id == id)).scalar())

    def request_stop(self, prefix: str) -> None:
        """Request the workers whose ids begin with `prefix` to give their jobs back and stop."""
        with self.database.write() as connection:
            mine = workers.c.id.startswith(prefix, autoescape=True)
            connection.execute(sa.update(workers).where(mine).values(stopping=True))

    def unregister(self, id: str) -> None:
        """Delete a worker that has ended."""
        with self.database.write() as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == id))

    def list_live(self, now: float, within: float = LIVE_SECONDS) -> Sequence[WorkerRow]:
        """Workers whose heartbeat is not older than `within` seconds."""
        with self.database.read() as connection:
            chosen = sa.select(workers).where(workers.c.beat > now - within).order_by(workers.c.id)
            return [row_as(WorkerRow, row) for row in connection.execute(chosen)]

    def prune(self, older_than: float) -> int:
        """Delete the workers whose heartbeat is older; returns how many."""
        with self.database.write() as connection:
            return connection.execute(sa.delete(workers).where(workers.c.beat < older_than)).rowcount
