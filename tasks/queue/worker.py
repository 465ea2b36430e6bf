"""The Celery worker: its one task runs the next job of a queue, or sends the due webhooks."""

import importlib
import logging
import math
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import celery.apps.worker as celery_worker
from billiard.pool import EX_RECYCLE
from celery import Celery, Task, current_app, shared_task, signals
from celery.utils.log import LoggingProxy

from portrait.addresses import Reach
from portrait.errors import OperatorError
from tasks import logs, webhooks
from tasks.files import open_files
from tasks.jobs import queue_for
from tasks.ledger.database import TOLERATED_SKEW
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.rows import WorkerRow
from tasks.queue import broker, device
from tasks.queue.processes import liveness, pool
from tasks.queue.running.copies import MachineCopies
from tasks.settings import Installation, load_installation
from tasks.telemetry import metrics, tracing
from tasks.telemetry.gpu import gpu_memory
from tasks.telemetry.model_events import count_models
from tasks.telemetry.serving import serve_metrics

if TYPE_CHECKING:
    from tasks.queue.runner import JobRunner

FLOWS = "tasks.queue.flows:open_flows"
"""The function that opens the flows of a worker, `module:function`, imported by each of its processes."""
NOT_SERVED = "Its models are here, but no worker serves its queue. Start one with a GPU: portrait worker --queues {}"
"""The reason for an ability that a machine has and its worker has not."""
SAMPLES_IDLE, SAMPLES_PAUSE, SAMPLES_DONE = 60.0, 3.0, 600.0
"""Seconds without a job before samples are drawn, between the samples of two styles, and until new styles are looked for."""
Start: TypeAlias = Literal["fork", "spawn"]
_log = logging.getLogger("portrait.worker")


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Options of a worker."""

    queues: Sequence[str] = ("cpu",)
    processes: int = 1
    pool: Literal["prefork", "solo"] = "prefork"
    start: Start = "fork"
    """`spawn` for queues that use a GPU: CUDA does not survive a fork."""
    flows: str = FLOWS


class WorkerContext:
    """The resources of one worker process: ledger, engines, its row in the registry. Created after the fork."""

    def __init__(self, installation: Installation, app: Celery) -> None:
        tasks = installation.tasks
        tracing.configure("worker", tasks.tracing)
        count_models()
        self.broker_app, self._parent = broker.create_app(tasks), int(app.conf["portrait_parent"])
        self.ledger: Ledger = open_ledger(tasks.database)
        now = self.ledger.now()
        self.row = WorkerRow(
            id=f"{app.conf['portrait_worker']}:{os.getpid()}",
            queues=list(app.conf["portrait_queues"]),
            abilities=[],
            missing={},
            device=str(app.conf["portrait_device"])[:60],
            started=now,
            beat=now,
            version=version("portrait"),
        )
        reach = Reach.of(tasks.webhooks.networks, tasks.webhooks.private)
        self.sender = webhooks.WebhookSender(self.ledger.webhooks, reach, tasks.lease.seconds, self.ledger.now)
        self.runner: JobRunner | None = None
        if set(self.row.queues) - {webhooks.QUEUE}:
            self.runner = self._create_runner(installation, str(app.conf["portrait_flows"]))
        self.copies = MachineCopies(self.ledger, open_files(tasks))
        self._closed = threading.Event()
        self._last_job, self._last_use = time.monotonic(), math.inf
        self._rest = installation.flows.draw.idle_minutes * 60 or math.inf
        _log_skew(self.ledger.now.skew())
        self.ledger.workers.register(self.row)
        self._settle_dead(str(app.conf["portrait_worker"]))
        threading.Thread(target=self._send_heartbeats, args=(tasks.lease.heartbeat,), name="beat", daemon=True).start()
        if self.runner is not None:
            threading.Thread(target=self._draw_samples, args=(self.runner,), name="samples", daemon=True).start()

    def process(self, queue: str) -> None:
        """Run one job or send the due webhooks; notify again when more wait, so that one message is enough for all."""
        if self.ledger.workers.is_stopping(self.row.id):
            return
        if queue == webhooks.QUEUE:
            if self.sender.send_due(self._should_stop_sending):
                self._notify(queue)
        elif self.runner is not None and self._run_in_turn(self.runner, queue):
            if self.ledger.webhooks.has_due(self.ledger.now()):
                self._notify(webhooks.QUEUE)
            if self.ledger.queue.count_waiting().get(queue):
                self._notify(queue)

    def _run_in_turn(self, runner: "JobRunner", queue: str) -> bool:
        """Run the next job of the queue; before a training, for as long as its turn is, the drawings that waited for it."""
        if queue == "gpu.train":
            until = time.monotonic() + runner.training_turn
            while time.monotonic() < until and runner.drawings_wait():
                if self.ledger.workers.is_stopping(self.row.id) or not self._run_next(runner, "gpu.generate"):
                    break
        return self._run_next(runner, queue)

    def _run_next(self, runner: "JobRunner", queue: str) -> bool:
        self._last_job = time.monotonic()
        found = runner.run_next(queue)
        self._last_job = time.monotonic()
        if found:
            self._last_use = self._last_job
        return found

    def close(self) -> None:
        """Unregister, and close engines and ledger."""
        self._closed.set()
        if self.runner is not None:
            self.runner.close()
        self.ledger.workers.unregister(self.row.id)
        liveness.forget("worker")
        self.ledger.close()
        tracing.flush()

    def _settle_dead(self, prefix: str) -> None:
        """Settle the jobs and rows of processes of this worker that died: this one may have taken the place of one."""

        def alive(id: str) -> bool:
            return id != self.row.id and liveness.is_running(int(id.rpartition(":")[2]))

        for row in self.ledger.workers.list_live(self.ledger.now()):
            if row.id.startswith(f"{prefix}:") and row.id != self.row.id and not alive(row.id):
                self.ledger.workers.unregister(row.id)
        if self.runner is not None:
            for job in self.runner.requeue_dead(f"{prefix}:", alive):
                if not job.done:
                    self._notify(job.queue)

    def _should_stop_sending(self) -> bool:
        """Whether to send no more webhooks for now: the worker is to stop, or jobs wait that it serves too."""
        jobs = () if self.runner is None else set(self.ledger.queue.count_waiting()) & set(self.row.queues)
        return bool(jobs) or self.ledger.workers.is_stopping(self.row.id)

    def _create_runner(self, installation: Installation, flows: str) -> "JobRunner":
        """Create the runner of jobs, which loads engines and their libraries, and add the abilities to the worker's row."""
        from pipelines.guards.pictures import in_words
        from tasks.queue.processes.readiness import find_abilities
        from tasks.queue.runner import JobRunner

        module, _, function = flows.partition(":")
        opened = getattr(importlib.import_module(module), function)(installation.flows)
        found = find_abilities(opened)
        words = frozenset(word for word in found.words if queue_for(word) in (None, *self.row.queues))
        missing = {word: list(lines) for word, lines in found.missing.items()}
        missing |= {word: [NOT_SERVED.format(queue_for(word))] for word in found.words - words}
        self.row = replace(self.row, abilities=sorted(words), missing=missing)
        if unguarded := in_words(installation.flows):
            _log.warning("%s", unguarded)
        tasks = installation.tasks
        runner = JobRunner(self.row.id, self.ledger, open_files(tasks), opened, tasks.lease, words, self.ledger.now)
        shares = {"gpu.train", "gpu.generate"} <= set(self.row.queues)
        return replace(runner, training_turn=tasks.workers.training_turn) if shares else runner

    def _notify(self, queue: str) -> None:
        if not broker.pending_messages(self.broker_app, queue):
            broker.notify(self.broker_app, queue)

    def _draw_samples(self, runner: "JobRunner") -> None:
        """Draw what styles look like with sample people, one style at a time, while there is nothing else to do."""
        with suppress(AttributeError, OSError):  # a thread has its own priority on Linux alone
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
        while not self._closed.wait(SAMPLES_PAUSE):
            if time.monotonic() - self._last_job < SAMPLES_IDLE:
                continue
            try:
                if self.ledger.workers.is_stopping(self.row.id):
                    continue
                if runner.draw_sample():
                    self._last_use = time.monotonic()
                else:
                    self._closed.wait(SAMPLES_DONE)
            except OperatorError:
                _log.warning("the ledger did not answer whoever draws samples")

    def _send_heartbeats(self, every: float) -> None:
        told = False
        while not self._closed.wait(every):
            liveness.beat("worker")
            try:
                metrics.clock_skew(self.ledger.now.skew())
                if not self._beat() and not self._closed.is_set():
                    self.ledger.workers.register(self.row)
                if not told and self.ledger.workers.is_stopping(self.row.id):
                    told = self._end_parent()
            except OperatorError:
                _log.warning("the ledger did not answer the worker's beat")
            if self.runner is not None:
                self.runner.release_idle()
                if time.monotonic() - self._last_use > self._rest:
                    self._make_room(self.runner)
            self.copies()

    def _make_room(self, runner: "JobRunner") -> None:
        """End this process, which holds engines that nobody has used for long: the worker starts one that holds none.

        A message that comes in this moment is lost with it; the keeper sends it again.
        """
        if self._parent == os.getpid() or not runner.busy.acquire(blocking=False):
            return
        _log.info("this process has rested and makes room")
        with suppress(OperatorError):  # whoever takes its place removes the row
            self.ledger.workers.unregister(self.row.id)
        liveness.forget("worker")
        tracing.flush()
        os._exit(EX_RECYCLE)

    def _beat(self) -> bool:
        """Send the heartbeat, of a worker with a GPU with the memory of those that are here; False where its row is gone."""
        gpus = [asdict(each) for each in gpu_memory()] if self.row.device != device.CPU else None
        return self.ledger.workers.heartbeat(self.row.id, self.ledger.now(), gpus)

    def _end_parent(self) -> bool:
        """Have the worker end that this process belongs to, after its jobs, since the ledger says so; True."""
        if self._parent in {os.getppid(), os.getpid()}:
            os.kill(self._parent, signal.SIGTERM)
        return True


class WorkerTask(Task):
    """A Celery task with the context of its process."""

    abstract = True
    worker_context: WorkerContext | None = None

    def get_context(self) -> WorkerContext:
        """Return the context, created at the first call; raises `OperatorError`."""
        if self.worker_context is None:
            self.worker_context = WorkerContext(load_installation(), self.app)
        return self.worker_context


@shared_task(bind=True, base=WorkerTask, name=broker.TASK, ignore_result=True)
def process_queue(self: WorkerTask, queue: str) -> None:
    """Run the next job of a queue."""
    try:
        self.get_context().process(queue)
    except OperatorError as error:
        # Nothing was claimed, or the lease will expire: the keeper notifies again.
        _log.error("the worker could not look for a job: %s %s", error.code, error.message)


def create_app(installation: Installation, options: WorkerOptions, on: str = device.CPU) -> Celery:
    """Create the Celery app of a worker that computes on a device."""
    app = broker.create_app(installation.tasks)
    app.conf.update(
        include=["tasks.queue.worker"],
        worker_pool_start_method=options.start,
        portrait_flows=options.flows,
        portrait_queues=list(options.queues),
        portrait_device=on,
        portrait_parent=os.getpid(),
        # The processes of one worker are stopped together, by this prefix of their ids.
        portrait_worker=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}",
    )
    return app


def run(installation: Installation, options: WorkerOptions) -> int:
    """Run a worker until SIGTERM or SIGINT; returns the exit code.

    A job that it does not finish within `tasks.workers.grace` goes back to the queue.
    Raises `OperatorError` (`no_gpu`) when this machine can serve none of its queues.
    """
    on = device.detect_device()
    served = device.servable_queues(options.queues, on, installation.tasks.cpu_for_gpu_queues)
    if len(served) < len(options.queues):
        _log.warning("without a GPU this worker serves %s alone (see tasks.cpu_for_gpu_queues)", ", ".join(served))
    options = replace(options, queues=served)
    app = create_app(installation, options, on)
    prefix = str(app.conf["portrait_worker"])

    ended, told = threading.Event(), threading.Event()

    def stopping(**_: Any) -> None:
        if not told.is_set():  # a second signal gives no more time
            told.set()
            # In a thread, because a signal handler must not wait for a database.
            threading.Thread(target=_request_stop, args=(installation, prefix), name="stopping").start()

    # What it says of signals is no line of JSON, and goes past the log.
    celery_worker.safe_say = lambda msg, f=None: None
    signals.worker_shutting_down.connect(stopping, weak=False)
    liveness.keep_beating("worker", installation.tasks.lease.heartbeat, ended)
    try:
        worker = app.Worker(
            hostname=f"portrait@{prefix}",
            queues=list(options.queues),
            concurrency=options.processes,
            pool=pool.TaskPool if options.pool == "prefork" else options.pool,
            loglevel="WARNING",
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        with serve_metrics(installation.tasks.metrics, installation.tasks.data, processes=True):
            worker.start()
    finally:
        ended.set()
        liveness.forget("worker")
        signals.worker_shutting_down.disconnect(stopping)
    return int(worker.exitcode or 0)


def _log_skew(skew: float) -> None:
    """Note in the log that this machine's clock is not the database's; leases go by the database's."""
    if abs(skew) > TOLERATED_SKEW:
        ahead = "ahead of" if skew > 0 else "behind"
        _log.warning("the clock of this machine is %.0f seconds %s the database's: set it by NTP", abs(skew), ahead)


def _task() -> WorkerTask:
    """Return this process's instance of the task."""
    return cast("dict[str, Any]", current_app.tasks)[broker.TASK]


# Connected on import, because a process that is spawned knows nothing but the modules it imports.
@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    """Write lines as all parts do: Celery would write its own, of warnings alone; what libraries print becomes lines too."""
    if not logs.is_configured():
        logs.configure("worker")
    if not isinstance(sys.stderr, LoggingProxy):
        sys.stdout = sys.stderr = LoggingProxy(logging.getLogger("portrait.printed"), logging.WARNING)


@signals.worker_process_init.connect
def _start_process(**_: Any) -> None:
    """Create the context before the first message: engines and libraries take seconds to load."""
    try:
        _task().get_context()
    except OperatorError as error:
        _log.error("the worker is not ready: %s %s", error.code, error.message)


@signals.worker_process_shutdown.connect
def _close_process(**_: Any) -> None:
    task = _task()
    if task.worker_context is not None:
        task.worker_context.close()


def _request_stop(installation: Installation, prefix: str) -> None:
    """Request the stop in the ledger, which reaches every process, however it was started; none is forked after this."""
    try:
        ledger = open_ledger(installation.tasks.database)
        ledger.workers.request_stop(prefix, ledger.now() + installation.tasks.workers.grace)
        ledger.close()
    except OperatorError as error:
        _log.error("running jobs are not given back: %s", error.code)
