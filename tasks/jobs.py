"""A job and the only ways its state may change; pure.

queued → running → succeeded | failed. A queued job is cancelled at once or expires; a running one is `cancelling` until its
worker confirms. A worker that vanished (a loss) and a flow that failed (a failure) are counted apart, because the first says
nothing about the job. Times are seconds since 1970, UTC.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Literal, TypeAlias

from portrait.errors import Cancelled, PortraitError, UserError

State: TypeAlias = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "expired"]
Kind: TypeAlias = Literal["look", "prepare", "train", "generate", "check", "test"]

FINISHED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "expired"})
"""States that end a job; only `retried` leads out of them."""
HELD: frozenset[str] = frozenset({"running", "cancelling"})
"""States in which a worker has the job."""
FORETELLS = 0.05
"""Progress from which a run tells how long it takes itself."""
QUEUES = ("cpu", "gpu.train", "gpu.generate", "io")
"""`io` carries no jobs: webhooks and purging."""


class LeaseLost(Cancelled):
    """The job belongs to another worker by now, or to nobody: stop, and write nothing more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a job may go wrong before it is dead."""

    losses: int = 10
    failures: int = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a job failed, as the person is told."""

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
    wants: Mapping[str, Any]
    """What was asked for, JSON: ids and numbers only."""
    created: float
    state: State = "queued"
    needs: frozenset[str] = frozenset()
    """Abilities that a worker must have: see `needs_of`."""
    priority: int = 0
    """Higher comes first among the jobs of one owner."""
    units: int = 1
    """How much work it is: photos to judge, portraits to draw; for the estimate."""
    phase: str = ""
    """The step of the flow: looking, drawing …"""
    progress: float = 0.0
    """0..1 of the whole job; never falls within one run."""
    message: str = ""
    preview: int = 0
    """Number of the newest preview picture; 0 while there is none."""
    losses: int = 0
    failures: int = 0
    fault: Fault | None = None
    """Why it failed; while it is queued again, why the last run failed."""
    result: Mapping[str, Any] = field(default_factory=dict)
    started: float | None = None
    """When the present or last run began."""
    finished: float | None = None
    worker: str | None = None
    token: str | None = None
    """The lease: whoever knows it may write."""
    lease_until: float | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in FINISHED


def needs_of(kind: str, style_kinds: Iterable[str] = (), base: str = "") -> frozenset[str]:
    """The abilities a job needs: `prepare`, `train:sdxl` by its base, `draw:studio`, `draw:template` … by its styles."""
    if kind == "train":
        return frozenset({f"train:{base}"})
    if kind == "generate":
        return frozenset(f"draw:{each}" for each in style_kinds)
    return frozenset({kind})


def queue_of(ability: str) -> str | None:
    """The queue in which jobs wait that need an ability, where it is one of their own: learning and drawing of words."""
    if ability.startswith("train:"):
        return "gpu.train"
    return "gpu.generate" if ability == "draw:text" or ability.startswith("base:") else None


def fault_of(error: PortraitError) -> Fault:
    """An error as it is kept."""
    branch = next(
        (each.__name__ for each in type(error).__mro__ if each.__module__ == PortraitError.__module__), "PortraitError"
    )
    return Fault(branch, error.code, error.message, dict(error.details))


def reported(job: Job, phase: str, progress: float, message: str, preview: int = 0) -> Job:
    """How far it has come; raises `Cancelled` when it shall stop."""
    if job.state == "cancelling":
        raise Cancelled
    _only(job, {"running"}, "reported on")
    return replace(
        job,
        phase=phase,
        progress=max(job.progress, min(1.0, progress)),
        message=message,
        preview=preview or job.preview,
    )


def succeeded(job: Job, now: float, result: Mapping[str, Any]) -> Job:
    """The work is done; raises `Cancelled` when somebody was told before that it would be cancelled."""
    if job.state == "cancelling":
        raise Cancelled
    _only(job, {"running"}, "finished")
    return _ended(replace(job, progress=1.0, result=dict(result), fault=None), "succeeded", now)


def refused(job: Job, now: float, fault: Fault) -> Job:
    """It cannot succeed as it was asked for, or not on this installation: no further try."""
    _only(job, HELD, "refused")
    return _ended(replace(job, fault=fault), "cancelled" if job.state == "cancelling" else "failed", now)


def faltered(job: Job, now: float, fault: Fault, limits: Limits) -> Job:
    """A flow failed that should have worked: once more, until `limits.failures`."""
    _only(job, HELD, "failed")
    failed = replace(job, failures=job.failures + 1, fault=fault)
    if job.state == "cancelling":
        return _ended(failed, "cancelled", now)
    return _ended(failed, "failed", now) if failed.failures >= limits.failures else _queued(failed)


def lost(job: Job, now: float, limits: Limits) -> Job:
    """The lease ran out: the worker died or was cut off."""
    _only(job, HELD, "taken from its worker")
    again = replace(job, losses=job.losses + 1)
    if job.state == "cancelling":
        return _ended(again, "cancelled", now)
    if again.losses < limits.losses:
        return _queued(again)
    reason = f"The worker was lost {again.losses} times while it had this job. An operator can see why, and try again."
    return _ended(replace(again, fault=Fault("EngineError", "workers_lost", reason)), "failed", now)


def released(job: Job, now: float) -> Job:
    """The worker stops and gives the job back, cancelled if that was asked for; nobody's fault, so nothing is counted."""
    _only(job, HELD, "given back")
    return _ended(job, "cancelled", now) if job.state == "cancelling" else _queued(job)


def cancel_asked(job: Job, now: float) -> Job:
    """Cancelled at once when nobody has it, else as soon as the worker sees it; raises `bad_transition` when done."""
    if job.state in {"cancelling", "cancelled"}:
        return job
    if job.state == "queued":
        return _ended(job, "cancelled", now)
    _only(job, {"running"}, "cancelled")
    return replace(job, state="cancelling")


def expired(job: Job, now: float) -> Job:
    """Nobody took it for too long."""
    _only(job, {"queued"}, "expired")
    reason = "No worker took this job in time. An operator can see which ability is missing; ask again later."
    return _ended(replace(job, fault=Fault("OperatorError", "expired", reason)), "expired", now)


def retried(job: Job, now: float) -> Job:
    """Once more from the start, with its counts at zero."""
    _only(job, FINISHED - {"succeeded"}, "tried again")
    return replace(_queued(job), losses=0, failures=0, fault=None, finished=None, created=now)


def position(own_before: int, others: Sequence[tuple[int, bool]]) -> int:
    """Place in the queue when owners take turns, 1 is next.

    `own_before` counts the owner's own jobs before this one; `others` holds, for each other owner, how many jobs wait and
    whether that owner's turn comes first.
    """
    turns = own_before + 1
    return turns + sum(min(waiting, turns if first else turns - 1) for waiting, first in others)


def seconds_left(job: Job, now: float, past: Sequence[float], place: int, workers: int) -> float | None:
    """How long until it is done, from seconds per unit of `past` runs of its kind, or from how far this one has come.

    None when there is nothing to go by.
    """
    if job.done:
        return None
    if not past:
        return _by_itself(job, now)
    run = median(past) * job.units
    if job.state == "queued":
        # Those before it are taken to be like it; live workers share them.
        return run * (1 + (place - 1) / max(1, workers))
    return max(0.0, run - (now - (job.started or now)))


def _by_itself(job: Job, now: float) -> float | None:
    """How long a run takes on, if it goes on as it went."""
    if job.state != "running" or job.started is None or job.progress < FORETELLS:
        return None
    return (now - job.started) * (1 - job.progress) / job.progress


def _queued(job: Job) -> Job:
    return replace(
        job, state="queued", phase="", progress=0.0, message="", preview=0, worker=None, token=None, lease_until=None
    )


def _ended(job: Job, state: State, now: float) -> Job:
    return replace(job, state=state, finished=now, message="", token=None, lease_until=None)


def _only(job: Job, states: Iterable[str], done: str) -> None:
    if job.state not in states:
        raise UserError("bad_transition", f"A job that is {job.state} cannot be {done}.", {"state": job.state})
