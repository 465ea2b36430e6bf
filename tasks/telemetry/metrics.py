"""Metrics of a process that change as it works; docs/monitoring.md says what each tells.

They are made at their first use, so that a worker with several processes can have them shared first: then each process writes a
file, and the one that is asked adds them up.
"""

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

LONG = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
"""Bounds of histograms of jobs and their steps, seconds: an ID photo takes one, learning hours."""
SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Bounds of histograms of requests, seconds."""
SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The variable in which prometheus-client finds the folder of shared metrics when it is imported."""
_FOLDER = "portrait-metrics-"
FINISHED = frozenset({"succeeded", "failed", "cancelled", "expired"})
LEASED = frozenset({"running", "cancelling"})


class Changed(Protocol):
    """What is counted of a job that changed; a `tasks.jobs.Job`."""

    @property
    def kind(self) -> str: ...  # noqa: D102 -- as in `tasks.jobs.Job`
    @property
    def state(self) -> str: ...  # noqa: D102
    @property
    def losses(self) -> int: ...  # noqa: D102
    @property
    def failures(self) -> int: ...  # noqa: D102
    @property
    def started(self) -> float | None: ...  # noqa: D102
    @property
    def fault(self) -> Any: ...  # noqa: D102


class ProcessMetrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = registry = CollectorRegistry()

        def counter(name: str, help: str, *labels: str) -> "Counter":
            return Counter(f"portrait_{name}", help, labels, registry=registry)

        def seconds(name: str, help: str, bounds: tuple[float, ...], *labels: str) -> "Histogram":
            return Histogram(f"portrait_{name}_seconds", help, labels, buckets=bounds, registry=registry)

        self.jobs_ended = counter("jobs_ended", "Jobs that ended.", "kind", "state", "code")
        self.jobs_lost = counter("jobs_lost", "Jobs whose worker vanished.", "kind")
        self.jobs_retried = counter("jobs_retried", "Jobs queued again after a failure.", "kind", "code")
        self.jobs = seconds("job", "From claim to end, or until it went back to the queue.", LONG, "kind", "state")
        self.waits = seconds("job_wait", "From order to claim.", LONG, "queue")
        self.steps = seconds("job_step", "Of one step of a job.", LONG, "kind", "step")
        self.model_loads = seconds("model_load", "Until a model was loaded.", LONG, "model")
        self.model_unloads = counter("model_unloads", "Models unloaded.", "model")
        self.loras = counter("lora_reads", "LoRAs that were asked for: in memory (hit) or read (miss).", "result")
        self.storage = seconds("storage_request", "Of a request to the object storage.", SHORT, "operation")
        self.storage_failures = counter("storage_failures", "Requests that failed.", "operation", "code")
        self.storage_cache = counter("storage_cache", "Files asked of the local cache, and evicted.", "result")
        self.storage_cache_bytes = Gauge(
            "portrait_storage_cache_bytes",
            "Bytes of the local cache.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.clock_skew = Gauge(
            "portrait_clock_skew_seconds",
            "The machine's clock less the database's.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.webhook_calls = counter("webhook_calls", "Calls of webhooks: delivered, failed, given_up.", "outcome")
        self.keeper_passes = counter("keeper_passes", "Passes of the keeper: done, failed.", "result")


@cache
def process_metrics() -> ProcessMetrics:
    """Return the metrics of this process, made at the first call."""
    return ProcessMetrics()


def share_between_processes() -> Path:
    """Have this process and those that it starts share their metrics; returns the folder, which the caller removes.

    Called before anything is counted: prometheus-client asks for it once, when it is imported, which is at the first count.
    """
    if not os.environ.get(SHARED):
        _remove_left()
        os.environ[SHARED] = tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-")
    return Path(os.environ[SHARED])


def _remove_left() -> None:
    """Remove the folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)


def job_changed(before: Changed, after: Changed, now: float) -> None:
    """Count a job that changed its state, in the process that changed it; `now` in seconds since 1970."""
    found = process_metrics()
    if after.losses > before.losses:
        found.jobs_lost.labels(after.kind).inc()
    if before.state == after.state:
        return
    code = "" if after.fault is None else str(after.fault.code)
    if after.state in FINISHED:
        found.jobs_ended.labels(after.kind, after.state, code).inc()
    if after.state == "queued" and after.failures > before.failures:
        found.jobs_retried.labels(after.kind, code).inc()
    if before.state in LEASED and after.state not in LEASED and before.started is not None:
        found.jobs.labels(after.kind, after.state).observe(max(0.0, now - before.started))


def job_claimed(queue: str, seconds: float) -> None:
    """Count the claim of a job that waited for so long; one that went back to the queue is counted again."""
    process_metrics().waits.labels(queue).observe(max(0.0, seconds))


def job_step(kind: str, step: str, seconds: float) -> None:
    """Count a step of a job that is over."""
    process_metrics().steps.labels(kind, step).observe(seconds)


def storage_request(operation: str, seconds: float, code: str = "") -> None:
    """Count a request to the object storage: `put`, `get`, `head`, `list`, `remove` …; `code` of the error where it failed."""
    process_metrics().storage.labels(operation).observe(seconds)
    if code:
        process_metrics().storage_failures.labels(operation, code).inc()


def storage_cache(result: str, count: int = 1) -> None:
    """Count files of the local cache: `hit`, `miss` or `evicted`."""
    process_metrics().storage_cache.labels(result).inc(count)


def storage_cache_bytes(size: int) -> None:
    """Note the size of the local cache."""
    process_metrics().storage_cache_bytes.set(size)


def clock_skew(seconds: float) -> None:
    """Note by how much the machine's clock is ahead of the database's; negative where it is behind."""
    process_metrics().clock_skew.set(seconds)


def webhook_call(outcome: str) -> None:
    """Count a call of a webhook: `delivered`, `failed` where it is tried again, `given_up` where not."""
    process_metrics().webhook_calls.labels(outcome).inc()


def keeper_pass(result: str) -> None:
    """Count a pass of the keeper: `done` or `failed`."""
    process_metrics().keeper_passes.labels(result).inc()


def model_loaded(model: str, seconds: float) -> None:
    """Count that a model was loaded: a base by its name, an engine as `faces/scrfd`."""
    process_metrics().model_loads.labels(model).observe(seconds)


def model_unloaded(model: str) -> None:
    """Count that a model was unloaded."""
    process_metrics().model_unloads.labels(model).inc()


def lora_read(result: str) -> None:
    """Count a LoRA that was asked for: `hit` where it was in memory, `miss` where its file was read."""
    process_metrics().loras.labels(result).inc()
