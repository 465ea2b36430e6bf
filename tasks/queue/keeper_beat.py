"""A keeper's row among the workers in the ledger: its heartbeats are its passes, so that anybody sees whether one runs."""

import os
import secrets
import socket
from dataclasses import dataclass, field
from importlib.metadata import version

from portrait.errors import OperatorError
from tasks.ledger.ledger import Ledger
from tasks.ledger.rows import WorkerRow
from tasks.ledger.workers import KEEPER
from tasks.telemetry import metrics


@dataclass(slots=True)
class KeeperBeat:
    """Notes the passes of one keeper."""

    ledger: Ledger
    id: str = field(default_factory=lambda: f"{KEEPER}:{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}")

    def __call__(self, now: float) -> None:
        """Note a pass that was done; raises `OperatorError` (`database_unreachable`)."""
        metrics.clock_skew(self.ledger.now.skew())
        if not self.ledger.workers.heartbeat(self.id, now):
            row = WorkerRow(self.id, [KEEPER], [], {}, "cpu", started=now, beat=now, version=version("portrait"))
            self.ledger.workers.register(row)
        metrics.keeper_pass("done")

    def failed(self) -> None:
        """Note a pass that failed."""
        metrics.keeper_pass("failed")

    def end(self) -> None:
        """Remove the row, because the keeper ends; where the database is away it is found to be old."""
        try:
            self.ledger.workers.unregister(self.id)
        except OperatorError:
            return
