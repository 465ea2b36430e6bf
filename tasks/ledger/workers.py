"""The worker processes and the keepers: their abilities and their heartbeats."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import sqlalchemy as sa

from tasks.ledger.jobs import LIVE_SECONDS
from tasks.ledger.rows import Repository, WorkerRow
from tasks.ledger.tables import workers

KEEPER = "keeper"
"""The queue of the row that a keeper has among the workers: its heartbeats are its passes."""


KEEPER = "keeper"
"""In place of a queue, what a keeper's row names: it serves none."""


class WorkerRegistry(Repository):
    """Worker processes that are running."""

    def register(self, worker: WorkerRow) -> None:
        """Insert a worker, or replace its row."""
        with self.database.write() as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == worker.id))
            connection.execute(sa.insert(workers).values(asdict(worker)))

    def heartbeat(self, id: str, now: float, gpus: Sequence[Mapping[str, int]] | None = None) -> bool:
        """Set a worker's heartbeat, with the memory of its GPUs, see `WorkerRow`.

        False when the ledger has no row of it (any more): then it registers again.
        """
        return self._write(sa.update(workers).where(workers.c.id == id).values(beat=now, gpus=gpus)) == 1

    def is_stopping(self, id: str) -> bool:
        """Whether a worker has been requested to stop: it claims no more jobs."""
        with self.database.read() as connection:
            return bool(connection.execute(sa.select(workers.c.stopping).where(workers.c.id == id)).scalar())

    def gives_back(self, id: str, now: float) -> bool:
        """Whether a worker that was requested to stop has no more time to finish its job."""
        over = workers.c.stopping & (sa.func.coalesce(workers.c.stop_by, 0.0) <= now)
        with self.database.read() as connection:
            return bool(connection.execute(sa.select(over).where(workers.c.id == id)).scalar())

    def request_stop(self, prefix: str, by: float = 0.0) -> int:
        """Request the workers whose ids begin with `prefix` to stop; returns how many.

        They claim nothing more, and may finish their jobs until `by`, seconds since 1970. A second request gives no less time.
        """
        mine = workers.c.id.startswith(prefix, autoescape=True)
        later = sa.case((sa.func.coalesce(workers.c.stop_by, 0.0) > by, workers.c.stop_by), else_=by)
        return self._write(sa.update(workers).where(mine).values(stopping=True, stop_by=later))

    def unregister(self, id: str) -> None:
        """Delete a worker that has ended."""
        self._write(sa.delete(workers).where(workers.c.id == id))

    def list_live(self, now: float, within: float = LIVE_SECONDS) -> Sequence[WorkerRow]:
        """Workers whose heartbeat is not older than `within` seconds."""
        return [row for row in self._list(now - within) if row.queues != [KEEPER]]

    def list_keepers(self, now: float, within: float = LIVE_SECONDS) -> Sequence[WorkerRow]:
        """Keepers whose last pass was not longer ago than `within` seconds."""
        return [row for row in self._list(now - within) if row.queues == [KEEPER]]

    def prune(self, older_than: float) -> int:
        """Delete the workers whose heartbeat is older; returns how many."""
        return self._write(sa.delete(workers).where(workers.c.beat < older_than))

    def _list(self, since: float) -> Sequence[WorkerRow]:
        return self._all(WorkerRow, sa.select(workers).where(workers.c.beat > since).order_by(workers.c.id))
