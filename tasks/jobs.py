"""A job as a value, and its state transitions as pure functions.

queued → running → succeeded | failed. A queued job is cancelled at once or expires; a running one is `cancelling` until its
worker confirms. A worker that vanished (a loss) and a flow that failed (a failure) are counted apart, because the first says
nothing about the job. Times are seconds since 1970, UTC. A transition raises `UserError` (`bad_transition`) when the job's
state does not allow it.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from statistics import median
from typing import Any, Literal, TypeAlias, get_args

from portrait.errors import Cancelled, PortraitError, UserError

JobState: TypeAlias = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "expired"]
JobKind: TypeAlias = Literal["look", "prepare", "train", "generate", "check", "test"]
KINDS: tuple[str, ...] = get_args(JobKind)

FINISHED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "expired"})
"""States that end a job; only `retry` leads out of them."""
LEASED: frozenset[str] = frozenset({"running", "cancelling"})
"""States in which a worker holds the job's lease."""
ACTIVE = LEASED | {"queued"}
"""States that do not end a job."""
MIN_PROGRESS_FOR_ESTIMATE = 0.05
"""Progress, 0..1, from which the rest of a run is estimated by its own speed."""
MIN_SECONDS_LEFT = 1.0
"""Seconds below which nothing is said of what is left: an estimate that ran out was wrong."""
QUEUES = ("cpu", "gpu.train", "gpu.generate", "io")
"""`io` carries no jobs: its workers send webhooks."""
BASE_PREFERENCE = 300.0
"""Seconds for which a worker prefers the base model that it has loaded; chosen by the simulation in docs/scaling.md."""
DAY = 86_400.0
"""Seconds of a day."""


class LeaseLost(Cancelled):
    """The lease belongs to another worker by now, or to nobody: the worker stops and writes nothing more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many losses and failures end a job."""

    losses: int = 5
    failures: int = 3


_WORDS = {"words", "traits", "prompt", "negative"}
"""Names of parameters in which people write freely."""


def without_words(params: Mapping[str, Any]) -> dict[str, Any]:
    """A job's parameters with anything that a person wrote left empty: ids, names of engines and styles, numbers stay."""
    return {name: _without_words(value, name in _WORDS) for name, value in params.items()}


def _without_words(value: Any, written: bool) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_words(each, written or name in _WORDS) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_words(each, written) for each in value]
    if isinstance(value, str) and (written or not re.fullmatch(r"[a-z0-9_.:#-]{0,120}", value)):
        return ""
    return value


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a job failed, in words for its owner."""

    branch: str
    """Name of the error's class: UserError, OperatorError, EngineError."""
    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of long work for one owner."""

    id: str
    owner: str
    kind: str
    queue: str
    params: Mapping[str, Any]
    """What the job works on and how, JSON: ids, numbers and, for edits, the words that the person wrote."""
    created: float
    state: JobState = "queued"
    needs: frozenset[str] = frozenset()
    """Abilities that a worker must have: see `required_abilities`."""
    priority: int = 0
    """Jobs of a higher number are claimed first; those of one number by the turns of their owners."""
    units: int = 1
    """How much work it is (photos to judge, portraits to draw), for the estimate of its time."""
    phase: str = ""
    """The step of the flow, one word: looking, drawing …"""
    progress: float = 0.0
    """0..1 of the whole job; never falls within one run."""
    message: str = ""
    preview: int = 0
    """Number of the newest preview picture; 0 while there is none."""
    losses: int = 0
    failures: int = 0
    fault: Fault | None = None
    """Why the last run failed; None when it did not."""
    result: Mapping[str, Any] = field(default_factory=dict)
    started: float | None = None
    """When the present or last run began."""
    finished: float | None = None
    worker: str | None = None
    token: str | None = None
    """The lease: only who knows the token may write."""
    lease_until: float | None = None
    order_id: str = ""
    """The order that it was placed with, which other jobs may share; empty for a job of its own."""
    seen: float | None = None
    """When its owner saw how it ended; None until then."""
    request: str = ""
    """Id of the request that placed it, which lines of logs name."""
    traceparent: str = ""
    """The place of that request in its trace, where requests are traced."""

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in FINISHED


def required_abilities(kind: str, style_kinds: Iterable[str] = (), base: str = "") -> frozenset[str]:
    """Return the abilities a job needs: its kind, `train:BASE` for training, `draw:STYLE_KIND` of each style for drawing."""
    if kind == "train":
        return frozenset({f"train:{base}"})
    if kind == "generate":
        return frozenset(f"draw:{each}" for each in style_kinds)
    return frozenset({kind})


def queue_for(ability: str) -> str | None:
    """Return the GPU queue of an ability (training, drawing from a prompt), None for abilities of any queue."""
    if ability.startswith("train:"):
        return "gpu.train"
    return "gpu.generate" if ability == "draw:text" or ability.startswith("base:") else None


def base_of(needs: Iterable[str]) -> str:
    """Return the base model that abilities name, as in `base:sdxl:lora`; empty where they name none or several."""
    names = {word.split(":")[1] for word in needs if word.startswith("base:")}
    return names.pop() if len(names) == 1 else ""


@dataclass(slots=True)
class BasePreference:
    """The base model that a worker process has loaded, whose jobs it prefers, or it would load one for nearly each job.

    Not for longer than `BASE_PREFERENCE`, after which any job may be the next one, so that no base is left out.
    """

    name: str = ""
    since: float = -inf
    """Reading of the steady clock when it was loaded, or was last claimed without a preference."""

    def preferred(self, clock: float) -> str:
        """Return the base to prefer; empty when the preference is over."""
        return self.name if clock - self.since < BASE_PREFERENCE else ""

    def note(self, base: str, preferred: str, clock: float) -> None:
        """Note the base of a claimed job, empty for one without, and which was preferred in the claim."""
        if base and base != preferred:
            self.name, self.since = base, clock


def fault_from(error: PortraitError) -> Fault:
    """Convert an error into the fault that the ledger stores."""
    branch = next(
        (each.__name__ for each in type(error).__mro__ if each.__module__ == PortraitError.__module__), "PortraitError"
    )
    return Fault(branch, error.code, error.message, dict(error.details))


def report_progress(job: Job, phase: str, progress: float, message: str, preview: int = 0) -> Job:
    """Set phase, progress (never backwards), message and preview; raises `Cancelled` when the job is to stop."""
    if job.state == "cancelling":
        raise Cancelled
    _require_state(job, {"running"}, "reported on")
    progress = max(job.progress, min(1.0, progress))
    return replace(job, phase=phase, progress=progress, message=message, preview=preview or job.preview)


def succeed(job: Job, now: float, result: Mapping[str, Any]) -> Job:
    """End a running job with its result; raises `Cancelled` when its cancellation was promised before."""
    if job.state == "cancelling":
        raise Cancelled
    _require_state(job, {"running"}, "finished")
    return _end(replace(job, progress=1.0, result=dict(result), fault=None), "succeeded", now)


def fail(job: Job, now: float, fault: Fault) -> Job:
    """End a job that cannot succeed as it was ordered or not on this installation, without another try."""
    _require_state(job, LEASED, "failed")
    return _end(replace(job, fault=fault), "cancelled" if job.state == "cancelling" else "failed", now)


def refuse(job: Job, now: float, fault: Fault) -> Job:
    """End a job that may not be done, before anything of it was."""
    _require_state(job, {"queued", "running"}, "refused")
    return _end(replace(job, fault=fault, started=None, worker=None), "cancelled", now)


def retry_or_fail(job: Job, now: float, fault: Fault, limits: Limits) -> Job:
    """Count a failure of a flow that should have worked: queue the job again, or fail it at `limits.failures`."""
    _require_state(job, LEASED, "failed")
    failed = replace(job, failures=job.failures + 1, fault=fault)
    if job.state == "cancelling":
        return _end(failed, "cancelled", now)
    return _end(failed, "failed", now) if failed.failures >= limits.failures else _requeue(failed)


def requeue_expired(job: Job, now: float, limits: Limits) -> Job:
    """Count the loss of a worker whose lease expired: queue the job again, or fail it at `limits.losses`."""
    _require_state(job, LEASED, "taken from its worker")
    again = replace(job, losses=job.losses + 1)
    if job.state == "cancelling":
        return _end(again, "cancelled", now)
    if again.losses < limits.losses:
        return _requeue(again)
    reason = (
        f"The worker was lost {again.losses} times while it had this job: its machine was switched off, cut off, or had too "
        "little memory. An operator can see why, and try again."
    )
    return _end(replace(again, fault=Fault("EngineError", "workers_lost", reason)), "failed", now)


def worker_died(failures: int) -> Fault:
    """The fault of a job whose process was ended by the system, or crashed, for the `failures`th time."""
    times = "once" if failures == 1 else f"{failures} times"
    return Fault(
        "EngineError",
        "worker_died",
        f"The system ended the process that did this job {times}, most likely for want of memory. Ask for less at once "
        "(fewer or smaller pictures, a smaller base), or have an operator give the worker more memory, and try again.",
    )


def set_priority(job: Job, priority: int) -> Job:
    """Set the priority of a job that has not ended."""
    _require_state(job, {"queued", *LEASED}, "given a priority")
    return replace(job, priority=priority)


def release(job: Job, now: float) -> Job:
    """Give a job back because its worker stops: queued again without a count, or cancelled if that was requested."""
    _require_state(job, LEASED, "given back")
    return _end(job, "cancelled", now) if job.state == "cancelling" else _requeue(job)


def request_cancel(job: Job, now: float) -> Job:
    """Cancel a queued job at once; mark a running one `cancelling` until its worker stops."""
    if job.state in {"cancelling", "cancelled"}:
        return job
    if job.state == "queued":
        return _end(job, "cancelled", now)
    _require_state(job, {"running"}, "cancelled")
    return replace(job, state="cancelling")


def expire(job: Job, now: float) -> Job:
    """End a queued job that no worker claimed in time."""
    _require_state(job, {"queued"}, "expired")
    reason = "No worker took this job in time. An operator can see which ability is missing; ask again later."
    return _end(replace(job, fault=Fault("OperatorError", "expired", reason)), "expired", now)


def retry(job: Job, now: float) -> Job:
    """Queue an ended job again from the start, with its counts at zero."""
    _require_state(job, FINISHED - {"succeeded"}, "tried again")
    return replace(_requeue(job), losses=0, failures=0, fault=None, finished=None, created=now, seen=None)


def queue_positions(waiting: Sequence[int], asked: Iterable[tuple[int, int]]) -> list[int]:
    """Return the places of jobs in the queue (1 is next) when owners take turns.

    `waiting` holds how many jobs each owner has, in the order of their turns; each asked job is given by which of these owners
    is its own, and by how many of that owner's jobs come before it.
    """
    rounds: dict[int, tuple[int, list[int]]] = {}
    places = []
    for owner, before in asked:
        if before not in rounds:
            in_line = [at for at, count in enumerate(waiting) if count > before]
            rounds[before] = sum(min(count, before) for count in waiting), in_line
        earlier, in_line = rounds[before]
        places.append(earlier + bisect_left(in_line, owner) + 1)
    return places


def seconds_left(job: Job, now: float, past: Sequence[float], place: int, workers: int) -> float | None:
    """Estimate the seconds until a job is done, from its own progress, and before there is any from `past` runs.

    `past` are seconds per unit. None when it has ended or is to stop, when there is nothing to estimate from, when past runs
    were shorter than this one already is, and when its worker's lease is over.
    """
    if job.state == "queued":
        # Those before it are taken to be like it; live workers share them.
        return median(past) * job.units * (1 + (place - 1) / max(1, workers)) if past else None
    if job.state != "running" or job.started is None or (job.lease_until or now) < now:
        return None
    running = now - job.started
    if job.progress >= MIN_PROGRESS_FOR_ESTIMATE:
        left = running * (1 - job.progress) / job.progress
    elif past:
        left = median(past) * job.units - running
    else:
        return None
    return left if left >= MIN_SECONDS_LEFT else None


def _requeue(job: Job) -> Job:
    return replace(
        job, state="queued", phase="", progress=0.0, message="", preview=0, worker=None, token=None, lease_until=None
    )


def _end(job: Job, state: JobState, now: float) -> Job:
    return replace(job, state=state, finished=now, message="", token=None, lease_until=None)


def _require_state(job: Job, states: Iterable[str], done: str) -> None:
    if job.state not in states:
        raise UserError("bad_transition", f"A job that is {job.state} cannot be {done}.", {"state": job.state})
