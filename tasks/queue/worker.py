"""The Celery worker: one task, that answers the bell of a queue by running the best job this process can do."""

import importlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from celery import Celery, Task, current_app, shared_task, signals

from portrait.errors import OperatorError
from tasks import webhooks
from tasks.files import Files
from tasks.jobs import queue_of
from tasks.ledger.ledger import Store, open_store
from tasks.ledger.rows import WorkerRow
from tasks.queue import broker, device
from tasks.settings import Installation, load_installation

if TYPE_CHECKING:
    from tasks.queue.runner import Runner

FLOWS = "tasks.queue.flows:open_flows"
"""What opens the flows of a worker: module and function, as each process of it finds them."""
UNSERVED = "Its models are here, but no worker serves its queue. Start one with a GPU: portrait worker --queues {}"
"""Why an ability that a machine has is not had by its worker."""
Start: TypeAlias = Literal["fork", "spawn"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker is started."""

    queues: Sequence[str] = ("cpu",)
    processes: int = 1
    pool: Literal["prefork", "solo"] = "prefork"
    start: Start = "fork"
    """`spawn` for queues that use a GPU: CUDA does not survive a fork."""
    flows: str = FLOWS


class Desk:
    """What one process of a worker has: ledger, engines, its place in the list of workers. Made after the fork."""

    def __init__(self, installation: Installation, app: Celery) -> None:
        tasks = installation.tasks
        now = time.time()
        self.bell = broker.make(tasks)
        self.store: Store = open_store(tasks.database)
        self.row = WorkerRow(
            id=f"{app.conf['portrait_worker']}:{os.getpid()}",
            queues=list(app.conf["portrait_queues"]),
            abilities=[],
            missing={},
            device=str(app.conf["portrait_device"])[:60],
            started=now,
            beat=now,
        )
        self.sender = webhooks.Sender(self.store.hooks, tasks.webhooks.private, tasks.lease.seconds)
        self.runner: Runner | None = None
        if set(self.row.queues) - {webhooks.QUEUE}:
            self.runner = self._runner(installation, str(app.conf["portrait_flows"]))
        self._left = threading.Event()
        self.store.staff.arrive(self.row)
        threading.Thread(target=self._live, args=(tasks.lease.heartbeat,), name="beat", daemon=True).start()

    def answer(self, queue: str) -> None:
        """Run one job or make the calls that are due; ring again when more wait, so that one ring is enough for all of them."""
        if self.store.staff.stopping(self.row.id):
            return
        if queue == webhooks.QUEUE:
            if self.sender.send_due(self._called_away):
                self._ring(queue)
        elif self.runner is not None and self.runner.once(queue):
            if self.store.hooks.due(time.time()):
                self._ring(webhooks.QUEUE)
            if self.store.queue.waiting().get(queue):
                self._ring(queue)

    def leave(self) -> None:
        """Sign off, and let engines and ledger go."""
        self._left.set()
        if self.runner is not None:
            self.runner.flows.close()
        self.store.staff.leave(self.row.id)
        self.store.close()

    def _called_away(self) -> bool:
        """Whether to make no more calls for now: it is to stop, or jobs wait that it serves too."""
        jobs = () if self.runner is None else set(self.store.queue.waiting()) & set(self.row.queues)
        return bool(jobs) or self.store.staff.stopping(self.row.id)

    def _runner(self, installation: Installation, flows: str) -> "Runner":
        """What runs jobs. Only a worker that has some to run loads engines and the libraries they take."""
        from tasks.queue.runner import Runner

        module, _, function = flows.partition(":")
        opened = getattr(importlib.import_module(module), function)(installation.flows)
        able = opened.abilities()
        words = frozenset(word for word in able.words if queue_of(word) in (None, *self.row.queues))
        missing = {word: list(lines) for word, lines in able.missing.items()}
        missing |= {word: [UNSERVED.format(queue_of(word))] for word in able.words - words}
        self.row = replace(self.row, abilities=sorted(words), missing=missing)
        tasks = installation.tasks
        return Runner(self.row.id, self.store, Files(tasks.data), opened, tasks.lease, words)

    def _ring(self, queue: str) -> None:
        if not broker.unheard(self.bell, queue):
            broker.ring(self.bell, queue)

    def _live(self, every: float) -> None:
        while not self._left.wait(every):
            try:
                if not self.store.staff.beat(self.row.id, time.time()) and not self._left.is_set():
                    self.store.staff.arrive(self.row)
            except OperatorError:
                _log.warning("the ledger did not answer the worker's beat")
            if self.runner is not None:
                self.runner.rest()


class Answer(Task):
    """Holds the desk of this process."""

    abstract = True
    desk: Desk | None = None

    def seat(self) -> Desk:
        """The desk, set up the first time; raises `OperatorError`."""
        if self.desk is None:
            self.desk = Desk(load_installation(), self.app)
        return self.desk


@shared_task(bind=True, base=Answer, name=broker.TASK, ignore_result=True)
def answer(self: Answer, queue: str) -> None:
    """Somebody rang: see what the queue has."""
    try:
        self.seat().answer(queue)
    except OperatorError as error:
        # Nothing was claimed, or the lease will tell: the keeper rings again.
        _log.error("the worker could not look for a job: %s %s", error.code, error.message)


def make(installation: Installation, options: Options, on: str = device.CPU) -> Celery:
    """The Celery app of a worker that computes on a device."""
    app = broker.make(installation.tasks)
    app.conf.update(
        include=["tasks.queue.worker"],
        worker_pool_start_method=options.start,
        portrait_flows=options.flows,
        portrait_queues=list(options.queues),
        portrait_device=on,
        # The processes of one worker are told to stop together.
        portrait_worker=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}",
    )
    return app


def run(installation: Installation, options: Options) -> int:
    """Work until told to stop (SIGTERM or SIGINT: the running job goes back to the queue); returns the exit code.

    Raises `OperatorError` (`no_gpu`) when this machine can serve none of its queues.
    """
    on = device.device()
    served = device.served(options.queues, on, installation.tasks.cpu_for_gpu_queues)
    if len(served) < len(options.queues):
        _log.warning("without a GPU this worker serves %s alone (see tasks.cpu_for_gpu_queues)", ", ".join(served))
    options = replace(options, queues=served)
    app = make(installation, options, on)
    prefix = str(app.conf["portrait_worker"])

    def stopping(**_: Any) -> None:
        # In a thread, because a signal handler must not wait for a database.
        threading.Thread(target=_tell_to_stop, args=(installation, prefix), name="stopping").start()

    signals.worker_shutting_down.connect(stopping, weak=False)
    try:
        worker = app.Worker(
            hostname=f"portrait@{prefix}",
            queues=list(options.queues),
            concurrency=options.processes,
            pool=options.pool,
            loglevel="WARNING",
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
    finally:
        signals.worker_shutting_down.disconnect(stopping)
    return int(worker.exitcode or 0)


def _task() -> Answer:
    """The task as this process has it."""
    return cast("dict[str, Any]", current_app.tasks)[broker.TASK]


# Connected on import, because a process that is spawned knows nothing but the modules it imports.
@signals.worker_process_init.connect
def _seated(**_: Any) -> None:
    """Set up before the first ring: engines and libraries take seconds to load."""
    try:
        _task().seat()
    except OperatorError as error:
        _log.error("the worker is not ready: %s %s", error.code, error.message)


@signals.worker_process_shutdown.connect
def _left(**_: Any) -> None:
    task = _task()
    if task.desk is not None:
        task.desk.leave()


def _tell_to_stop(installation: Installation, prefix: str) -> None:
    """Through the ledger, which reaches the processes however they were started. No process is forked after this."""
    try:
        store = open_store(installation.tasks.database)
        store.staff.stop(prefix)
        store.close()
    except OperatorError as error:
        _log.error("running jobs are not given back: %s", error.code)
