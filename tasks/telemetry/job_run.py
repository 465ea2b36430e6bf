"""One run of a job by a worker, for whoever watches: its span, its steps, and the ids in the log."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

from tasks.telemetry import correlation, metrics, tracing

OTHER = "other"
"""The step of what a flow reports in words that are not known: any word would be a series of its own."""


class Claimed(Protocol):
    """What is told of a claimed job; a `tasks.jobs.Job`."""

    @property
    def id(self) -> str: ...  # noqa: D102 -- as in `tasks.jobs.Job`
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def queue(self) -> str: ...  # noqa: D102
    @property
    def created(self) -> float: ...  # noqa: D102
    @property
    def started(self) -> float | None: ...  # noqa: D102
    @property
    def losses(self) -> int: ...  # noqa: D102
    @property
    def failures(self) -> int: ...  # noqa: D102
    @property
    def request(self) -> str: ...  # noqa: D102
    @property
    def traceparent(self) -> str: ...  # noqa: D102


class JobRun:
    """The steps of a run, each timed and traced from its beginning to that of the next."""

    def __init__(self, kind: str, known: Collection[str], span: tracing.Span) -> None:
        self._kind, self._known, self._span = kind, known, span
        self._step, self._began, self._open = "", 0.0, tracing.NOTHING

    def step(self, name: str) -> None:
        """Begin a step, where another one was; called as often as the flow reports."""
        name = name if name in self._known else OTHER
        if name == self._step:
            return
        self.end_step()
        self._step, self._began = name, time.monotonic()
        # Not the present span of a thread: flows report from more than one.
        self._open = tracing.begin(name, self._span.traceparent)

    def end_step(self) -> None:
        """End the step that runs."""
        if self._step:
            metrics.job_step(self._kind, self._step, time.monotonic() - self._began)
            self._open.end()
        self._step = ""

    def fail(self, code: str) -> None:
        """Note the code of the error that ended the run."""
        self._span.fail(code)


@contextmanager
def running(job: Claimed, worker: str, known: Collection[str]) -> Iterator[JobRun]:
    """Tell of a run: log lines within it name the job and its request, and its spans go on with the trace of its order."""
    started = job.started or job.created
    metrics.job_claimed(job.queue, started - job.created)
    told = {"job": job.id, "kind": job.kind, "queue": job.queue, "worker": worker}
    counted = {"losses": job.losses, "failures": job.failures, "waited": round(started - job.created, 3)}
    with (
        correlation.about(request=job.request, job=job.id),
        tracing.span(f"job {job.kind}", job.traceparent, "consumer", attributes=told | counted) as span,
    ):
        run = JobRun(job.kind, known, span)
        try:
            yield run
        finally:
            run.end_step()
