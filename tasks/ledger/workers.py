"""The worker processes: their abilities and their heartbeats."""

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from tasks.ledger.jobs import LIVE_SECONDS
from tasks.ledger.rows import Repository, WorkerRow
from tasks.ledger.tables import workers


class WorkerRegistry(Repository):
    """Worker processes that are running."""

    def register(self, worker: WorkerRow) -> None:
        """Insert a worker, or replace its row."""
        with self.database.write() as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == worker.id))
            connection.execute(sa.insert(workers).values(asdict(worker)))

    def heartbeat(self, id: str, now: float) -> bool:
        """Set a worker's heartbeat; False when the ledger has no row of it (any more): then it registers again."""
        return self._write(sa.update(workers).where(workers.c.id == id).values(beat=now)) == 1

    def is_stopping(self, id: str) -> bool:
        """Whether a worker has been requested to stop."""
        with self.database.read() as connection:
            return bool(connection.execute(sa.select(workers.c.stopping).where(workers.c.id == id)).scalar())

    def request_stop(self, prefix: str) -> None:
        """Request the workers whose ids begin with `prefix` to give their jobs back and stop."""
        mine = workers.c.id.startswith(prefix, autoescape=True)
        self._write(sa.update(workers).where(mine).values(stopping=True))

    def unregister(self, id: str) -> None:
        """Delete a worker that has ended."""
        self._write(sa.delete(workers).where(workers.c.id == id))

    def list_live(self, now: float, within: float = LIVE_SECONDS) -> Sequence[WorkerRow]:
        """Workers whose heartbeat is not older than `within` seconds."""
        live = sa.select(workers).where(workers.c.beat > now - within).order_by(workers.c.id)
        return self._all(WorkerRow, live)

    def prune(self, older_than: float) -> int:
        """Delete the workers whose heartbeat is older; returns how many."""
        return self._write(sa.delete(workers).where(workers.c.beat < older_than))
