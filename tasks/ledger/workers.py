"""The workers: what each can do, and when it was last heard of."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from tasks.ledger.database import Database
from tasks.ledger.jobs import LIVE
from tasks.ledger.rows import WorkerRow, row_as
from tasks.ledger.tables import workers


@dataclass(frozen=True, slots=True)
class Staff:
    """Worker processes."""

    database: Database

    def arrive(self, worker: WorkerRow) -> None:
        """Register a worker, or what has changed about it."""
        with self.database.write() as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == worker.id))
            connection.execute(sa.insert(workers).values(asdict(worker)))

    def beat(self, id: str, now: float) -> bool:
        """Note that a worker lives; False when the ledger does not know it (any more): then it shall arrive again."""
        with self.database.write() as connection:
            return connection.execute(sa.update(workers).where(workers.c.id == id).values(beat=now)).rowcount == 1

    def stopping(self, id: str) -> bool:
        """Whether a worker was told to stop."""
        with self.database.read() as connection:
            return bool(connection.execute(sa.select(workers.c.stopping).where(workers.c.id == id)).scalar())

    def stop(self, prefix: str) -> None:
        """Tell the workers whose ids begin so to give their jobs back."""
        with self.database.write() as connection:
            mine = workers.c.id.startswith(prefix, autoescape=True)
            connection.execute(sa.update(workers).where(mine).values(stopping=True))

    def leave(self, id: str) -> None:
        """A worker has ended."""
        with self.database.write() as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == id))

    def live(self, now: float, within: float = LIVE) -> Sequence[WorkerRow]:
        """Workers that were heard of within so many seconds."""
        with self.database.read() as connection:
            chosen = sa.select(workers).where(workers.c.beat > now - within).order_by(workers.c.id)
            return [row_as(WorkerRow, row) for row in connection.execute(chosen)]

    def prune(self, older_than: float) -> int:
        """Forget workers that were not heard of since."""
        with self.database.write() as connection:
            return connection.execute(sa.delete(workers).where(workers.c.beat < older_than)).rowcount
