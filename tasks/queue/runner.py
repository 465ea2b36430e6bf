"""Runs one job from its claim to its end: lease heartbeat, progress, and the handling of errors."""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from pipelines.folders import atomic
from portrait.arrays import Image
from portrait.errors import Cancelled, EngineError, OperatorError, PortraitError, UserError
from tasks.erasing import ErasureWatch
from tasks.files import Files, disk_error
from tasks.jobs import BasePreference, Fault, Job, LeaseLost, Limits, base_of, fault_from
from tasks.ledger.ledger import Ledger
from tasks.logs import format_trace
from tasks.queue import delivery, results
from tasks.queue.flows import Flows, JobContext
from tasks.settings import LeaseSettings
from tasks.storage import transient
from tasks.styles.available import AvailableStyles
from tasks.telemetry import tracing
from tasks.telemetry.job_run import JobRun, running

REPORT_INTERVAL = 0.5
"""Least seconds between two writes of progress: more writes would only block others in the ledger."""
PREVIEW_INTERVAL = 2.0
"""Least seconds between two previews."""
CLOSE_SECONDS = 5.0
"""Seconds that engines are waited for before they are closed: a sample that is being drawn stops at its next step."""
PREVIEW_SIDE = 512
"""Pixels of a preview's longer side."""
PHASE_SPANS: dict[str, tuple[float, float]] = {
    "looking": (0.0, 0.7),
    "all": (0.7, 0.7),
    "cropping": (0.7, 0.85),
    "enhancing": (0.85, 0.97),
    "cutting": (0.97, 0.99),
    "preserving": (0.0, 0.15),
    "encoding": (0.15, 0.18),
    "learning": (0.18, 0.94),
    "examining": (0.18, 0.94),
    "choosing": (0.94, 0.99),
    "drawing": (0.0, 0.9),
    "drawn": (0.9, 0.9),
    "measuring": (0.9, 0.98),
}
"""By the first word that a step reports: the part of the job's progress (start, end) that the step covers."""
_log = logging.getLogger("portrait.runner")


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runs jobs in one worker process."""

    worker: str
    """Id of this process in the ledger."""
    ledger: Ledger
    files: Files
    flows: Flows
    lease: LeaseSettings
    abilities: frozenset[str]
    now: Callable[[], float] = time.time
    training_turn: float = 0.0
    """Seconds after which a training gives its place to drawings that have waited so long; 0: it never does."""
    busy: threading.Lock = field(default_factory=threading.Lock)
    """Held while a job runs, while models are released, and while samples are drawn."""
    wanted: threading.Event = field(default_factory=threading.Event)
    """Set while a job waits for `busy`."""
    bases: BasePreference = field(default_factory=BasePreference)
    erasures: ErasureWatch = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "erasures", ErasureWatch(self.ledger))

    def run_next(self, queue: str) -> bool:
        """Claim the next job of the queue and run it to its end; False when there is none for this worker."""
        self.wanted.set()
        with self.busy:
            self.wanted.clear()
            return self._run_next(queue)

    def drawings_wait(self) -> bool:
        """Whether a drawing that this worker can do has waited for as long as a training may keep it waiting."""
        since = self.ledger.queue.waits_since("gpu.generate", self.abilities) if self.training_turn else None
        return since is not None and self.now() - since >= self.training_turn

    def requeue_dead(self, prefix: str, alive: Callable[[str], bool]) -> list[Job]:
        """Count a failure of each job that a dead process of this worker held, as `JobQueue.requeue_dead`; returns them."""
        found = self.ledger.queue.requeue_dead(
            prefix, alive, self.now(), Limits(self.lease.losses, self.lease.failures)
        )
        for job in found:
            _log.error("the process that did job %s was ended by the system, now %s", job.id, job.state)
            if job.done:
                self._sweep(job)
        return found

    def draw_sample(self) -> bool:
        """Draw the sample people in one style, unless a job runs; one that comes meanwhile stops it. False where none is left.

        Called from another thread than jobs.
        """
        if not self.busy.acquire(blocking=False):
            return True
        try:
            styles = AvailableStyles(self.ledger, self.files)
            return self.flows.draw_sample(styles, self.files, self.abilities, self._stop_when_wanted)
        except Cancelled:
            return True
        except Exception as error:
            where = format_trace(error.__traceback__)
            _log.error("samples could not be drawn: %s at %s", type(error).__name__, where)
            return False
        finally:
            self.busy.release()

    def close(self) -> None:
        """Stop drawing samples, and close the engines."""
        self.wanted.set()
        free = self.busy.acquire(timeout=CLOSE_SECONDS)
        self.flows.close()
        if free:
            self.busy.release()

    def _stop_when_wanted(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        if self.wanted.is_set():
            raise Cancelled

    def release_idle(self) -> None:
        """Release models that were not used for long, and after an erasure what is kept of people, unless a job runs.

        Called from another thread than jobs.
        """
        if not self.busy.acquire(blocking=False):
            return
        try:
            if self.erasures.has_news():
                self.flows.forget()
            self.flows.release_idle()
        except Exception as error:
            # The calling thread also sends the worker's heartbeats, and must go on.
            where = format_trace(error.__traceback__)
            _log.error("models could not be unloaded: %s at %s", type(error).__name__, where)
        finally:
            self.busy.release()

    def _run_next(self, queue: str) -> bool:
        base = self.bases.preferred(time.monotonic())
        job = self.ledger.queue.claim(self.worker, queue, self.abilities, self.now(), self.lease.seconds, base)
        if job is None or job.token is None:
            return False
        self.bases.note(base_of(job.needs), base, time.monotonic())
        with running(job, self.worker, PHASE_SPANS) as run:
            self._run(job, self.files.staging(job.id, job.token), run)
        return True

    def _run(self, job: Job, staging: Path, run: JobRun) -> None:
        """Run a claimed job to its end; what goes wrong stays here."""
        heart = LeaseHeartbeat(self.ledger, job, self.lease, self.now)
        try:
            with heart:
                progress = ProgressReporter(self, job, heart, {}, run)
                context = JobContext(job, self.ledger, self.files, staging, progress, self.now, progress.names)
                _log.info("job %s (%s) began", job.id, job.kind)
                self._run_flow(context, heart)
        except LeaseLost:
            _log.warning("job %s was taken from this worker; nothing of it was written", job.id)
        except OperatorError as error:
            # The ledger did not answer for longer than the lease: the keeper will find the job.
            _log.error("job %s could not be settled: %s", job.id, error.code)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            self._sweep(job)

    def _sweep(self, job: Job) -> None:
        """Erase the preview, and unless the job goes on files of portraits that were replaced; else the keeper does it."""
        try:
            self.files.remove(self.files.preview(job.id))
            delivery.sweep(self.ledger, self.files, job.owner, job.id)
        except (OperatorError, OSError) as error:
            _log.warning("the folder of job %s was not swept: %s", job.id, type(error).__name__)

    def _run_flow(self, context: JobContext, heart: "LeaseHeartbeat") -> None:
        """Run the flow and finish the job; an error fails it, or queues it again, by its class."""
        job, queue = context.job, self.ledger.queue
        try:
            context.staging.mkdir(parents=True, exist_ok=True)
            with tracing.span("flow"):
                result = self.flows(context)
            heart.check()
            with tracing.span("finish"):
                retry_write(self.lease, lambda: queue.finish(job, self.now(), result.outcome, result.publish))
            _log.info("job %s succeeded", job.id)
        except LeaseLost:
            raise
        except Cancelled:
            retry_write(self.lease, lambda: queue.release(job, self.now()))
            _log.info("job %s stopped", job.id)
        except (UserError, OperatorError) as error:
            if error.code in transient.CODES:  # says nothing about the job
                retry_write(self.lease, lambda: queue.release(job, self.now()))
                what = "database" if error.code == "database_unreachable" else "object storage"
                _log.warning("job %s was given back: the %s did not answer", job.id, what)
            else:
                self._fail(context, error)
        except OSError as error:
            self._fail(context, disk_error(error))
        except EngineError as error:
            self._retry_or_fail(job, _fault_with_names(error, context))
        except MemoryError:
            self._retry_or_fail(job, Fault("EngineError", "out_of_memory", "There was not enough memory for this job."))
        except Exception as error:
            # The message of an unknown error may hold anything, a name or a path: the log gets where it was raised.
            _log.error("job %s failed: %s at %s", job.id, type(error).__name__, format_trace(error.__traceback__))
            self._retry_or_fail(job, Fault("EngineError", "unexpected", "Something went wrong that should not have."))

    def _fail(self, context: JobContext, error: PortraitError) -> None:
        fault = _fault_with_names(error, context)
        verdicts = results.verdicts_by_selfie(error.details.get("photos", []))
        final = type(error)(fault.code, fault.message, fault.details)
        retry_write(self.lease, lambda: self.ledger.queue.fail(context.job, self.now(), final, verdicts))
        _log.info("job %s refused: %s", context.job.id, error.code)

    def _retry_or_fail(self, job: Job, fault: Fault) -> None:
        limits = Limits(self.lease.losses, self.lease.failures)
        retry_write(self.lease, lambda: self.ledger.queue.retry_or_fail(job, self.now(), fault, limits))
        _log.warning("job %s failed: %s", job.id, fault.code)


class LeaseHeartbeat:
    """Renews a job's lease in a background thread, and knows whether the lease still holds."""

    def __init__(self, ledger: Ledger, job: Job, lease: LeaseSettings, now: Callable[[], float]) -> None:
        self._ledger, self._job, self._lease, self._now = ledger, job, lease, now
        self._until = (job.lease_until or 0.0) or now() + lease.seconds
        self._lost = self._cancelling = False
        self._stop = threading.Event()
        within = copy_context()  # a thread has a context of its own, and its lines are about this job too
        self._thread = threading.Thread(target=within.run, args=(self._renew,), name=f"heart-{job.id}", daemon=True)

    def __enter__(self) -> "LeaseHeartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise `LeaseLost` when the job is not this worker's any more, `Cancelled` when it is to stop."""
        if self._lost or self._now() > self._until:
            raise LeaseLost("lease_lost", "The job was taken from this worker.")
        if self._cancelling:
            raise Cancelled

    def _renew(self) -> None:
        while not self._stop.wait(self._lease.heartbeat):
            try:
                now = self._now()
                state = self._ledger.queue.heartbeat(self._job, now, self._lease.seconds)
                self._until = now + self._lease.seconds
                if self._cancelling and state == "cancelling":
                    self._end_cancelled(now)
                    return
                self._cancelling = state == "cancelling"
            except LeaseLost:
                self._lost = True
                return
            except OperatorError:
                _log.warning("the ledger did not answer the heartbeat of job %s", self._job.id)

    def _end_cancelled(self, now: float) -> None:
        """Cancel a job amid a step that reports nothing: the step goes on without a lease, so that it writes nothing more."""
        self._ledger.queue.release(self._job, now)
        self._lost = True
        _log.info("job %s was cancelled amid a step, which still goes on", self._job.id)


@dataclass(slots=True)
class ProgressReporter:
    """The `Progress` of a job: writes it into the ledger at most twice a second, and raises when the job is to stop."""

    runner: JobRunner
    job: Job
    heart: LeaseHeartbeat
    names: dict[str, str]
    run: JobRun
    _reported: float = 0.0
    _previewed: float = 0.0
    _preview: int = 0

    def __call__(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        """Write progress, message and preview; raises `Cancelled`, `LeaseLost`."""
        self.heart.check()
        phase = doing.split(" ", 1)[0].lower() if doing else ""
        self.run.step(phase)
        clock = time.monotonic()
        if clock - self._reported < REPORT_INTERVAL:
            return
        self._reported = clock
        try:
            now = self.runner.now()
            if self.runner.ledger.workers.gives_back(self.runner.worker, now):
                raise Cancelled("stopping", "The worker stops.")
            if self._turn_is_over(now):
                raise Cancelled("stopping", "Drawings go first; the training goes on after them.")
            self._write_preview(preview, clock)
            progress, message = overall_progress(phase, done, total), with_names(doing, self.names)
            self.runner.ledger.queue.report(self.job, now, phase[:40], progress, message, self._preview)
        except OperatorError:
            _log.warning("the progress of job %s was not written", self.job.id)  # the next one will be

    def _turn_is_over(self, now: float) -> bool:
        """Whether a training has had its turn, and drawings wait for theirs."""
        turn, began = self.runner.training_turn, self.job.started
        if self.job.queue != "gpu.train" or not turn or began is None or now - began < turn:
            return False
        return self.runner.drawings_wait()

    def _write_preview(self, image: Image | None, clock: float) -> None:
        if image is None or clock - self._previewed < PREVIEW_INTERVAL:
            return
        self._previewed = clock
        try:
            if not self.runner.flows.shows(image):
                return
            files = self.runner.files
            files.keep(write_preview(image, files.preview(self.job.id)))
        except (OSError, OperatorError):
            return  # a missing preview is no reason to fail the job
        self._preview += 1


def overall_progress(phase: str, done: int, total: int) -> float:
    """Return the progress of the job, 0..1, when one of its steps is at `done` of `total`."""
    start, end = PHASE_SPANS.get(phase, (0.0, 0.98))
    return start + (end - start) * (min(1.0, done / total) if total > 0 else 0.0)


def with_names(text: str, names: dict[str, str]) -> str:
    """Replace the ids in a message by the names of the files."""
    for id, name in names.items():
        text = text.replace(id, name)
    return text


def retry_write(lease: LeaseSettings, write: Callable[[], object]) -> None:
    """Do the last write of a job, again while database or storage is unreachable and the lease may still hold."""
    transient.retry(write, lease.seconds)


def write_preview(image: Image, path: Path) -> Path:
    """Write a small JPEG of an H×W×3 RGB picture, atomically; returns `path`."""
    height, width = image.shape[:2]
    scale = min(1.0, PREVIEW_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    with atomic.replace_file(path) as staged:
        staged.write_bytes(data.tobytes())
    return path


def _fault_with_names(error: PortraitError, context: JobContext) -> Fault:
    """Convert an error into a fault with file names for ids and without paths of this machine."""
    fault = fault_from(error)
    message = with_names(error.message, context.names)
    for path in (str(context.staging), str(context.files.root)):
        message = message.replace(path, "the data folder")
    return Fault(fault.branch, fault.code, message, fault.details)
