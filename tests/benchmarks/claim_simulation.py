"""Simulates workers that claim jobs, to compare the policy of `JobQueue.claim` with others.

A worker of the simulation holds one base model, as `DiffusionPainter` does, and loads another in its place where a job asks
for it. Chance comes from seeds; a scenario asks for the same jobs at the same times under each policy. `Policy.choose` orders
as the statement of `tasks.ledger.queue` does: `test_claim_policy.py` compares the two on both databases.
"""

import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.jobs import BASE_PREFERENCE

LOAD_SECONDS: Mapping[str, float] = {"sd15": 2, "sdxl": 7, "klein": 16, "flux": 34}
"""Assumed: the gigabytes of each base (docs/training.md) at one gigabyte a second from the disk to the GPU."""
PERSON_SECONDS = 0.5
"""Assumed: fetching a LoRA of some 50 MB and copying it into the slot; from the disk it is 0.06 s (docs/benchmarks.md)."""
LEASE, RESTART = 65.0, 30.0
"""Seconds until a lost job is queued again, and until a killed worker is back."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A job of a simulation."""

    id: str
    owner: str
    created: float
    base: str = ""
    person: str = ""
    seconds: float = 20.0
    """Of work, when base and person are loaded."""
    queue: str = "gpu.generate"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Claimer:
    """What of a worker counts when it claims."""

    base: str = ""
    """That it prefers."""
    person: str = ""


Served = Mapping[tuple[str, str], float]
"""By owner and queue, when a job of theirs was last claimed."""
Key = Callable[[Asked, Served, Claimer], tuple[object, ...]]
"""Sorts the waiting jobs; the smallest is claimed."""


def first_come(job: Asked, served: Served, claimer: Claimer) -> tuple[object, ...]:
    """The oldest."""
    return (job.created, job.id)


def turns(job: Asked, served: Served, claimer: Claimer) -> tuple[object, ...]:
    """The owner served longest ago, then the oldest."""
    return (-job.priority, served.get((job.owner, job.queue), 0.0), job.created, job.id)


def bases(job: Asked, served: Served, claimer: Claimer) -> tuple[object, ...]:
    """As `turns`, jobs of the preferred base before others."""
    cold = not claimer.base or job.base != claimer.base
    return (-job.priority, cold, served.get((job.owner, job.queue), 0.0), job.created, job.id)


def people(job: Asked, served: Served, claimer: Claimer) -> tuple[object, ...]:
    """As `bases`, among them jobs of the person who was drawn last before others."""
    cold = not claimer.base or job.base != claimer.base
    strange = cold or job.person != claimer.person
    return (-job.priority, cold, strange, served.get((job.owner, job.queue), 0.0), job.created, job.id)


@dataclass(frozen=True, slots=True)
class Policy:
    """How the next job is chosen."""

    name: str
    key: Key
    preference: float = 0.0
    """Seconds since a base was loaded, or was chosen freely again, in which it is preferred."""

    def choose(self, waiting: Sequence[Asked], served: Served, claimer: Claimer) -> Asked:
        """The job that is claimed, of one or more."""
        return min(waiting, key=lambda job: self.key(job, served, claimer))


POLICIES = (
    Policy("first come", first_come),
    Policy("owners in turn", turns),
    Policy("in turn, base preferred", bases, BASE_PREFERENCE),
    Policy("… without an end", bases, float("inf")),
    Policy("… and person preferred", people, BASE_PREFERENCE),
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Workers and what is asked of them."""

    name: str
    asked: Sequence[Asked]
    workers: Sequence[tuple[str, ...]]
    """The queues of each."""
    killed_every: float = 0.0
    """Mean seconds between two deaths of a worker; 0: none dies."""
    training_turn: float = 0.0
    """As `tasks.workers.training_turn`, where workers learn and draw; 0: nobody who is learned is kept waiting."""


@dataclass(slots=True)
class _Worker:
    queues: tuple[str, ...]
    base: str = ""
    since: float = 0.0
    person: str = ""
    job: Asked | None = None
    life: int = 0
    alive: bool = True
    turn: int = 0
    began: float = 0.0
    draws_until: float = 0.0
    """The end of the drawings' turn, where a training gave them its place."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a scenario under a policy."""

    waits: Sequence[float]
    """Seconds of each job that draws, from asking until a worker claimed it for its last run."""
    single: Sequence[float]
    """The waits of jobs that were asked for by owners of whom nothing else waited: nobody shall be let wait long by others."""
    loads: int
    """Of base models."""
    loading: float
    """Seconds of workers that went into loading bases and people."""
    ended: float
    """When the last job was done."""
    share: float
    """The worst owner's, 0..1: of what was asked for in the first three quarters of the time and done by its end, what was done
    for them against an equal share of it."""
    losses: int


@dataclass(slots=True)
class _Run:
    """One run of a simulation."""

    scenario: Scenario
    policy: Policy
    random: random.Random
    events: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    waiting: dict[str, list[Asked]] = field(default_factory=lambda: defaultdict(list))
    served: dict[tuple[str, str], float] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    single: set[str] = field(default_factory=set)
    left: dict[str, float] = field(default_factory=dict)
    """Seconds of work that jobs have left which gave their place away."""
    workers: list[_Worker] = field(default_factory=list)
    loads: int = 0
    loading: float = 0.0
    losses: int = 0
    done: int = 0
    ended: float = 0.0

    def at(self, time: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (time, next(self.numbers), act))

    def run(self) -> Outcome:
        self.workers = [_Worker(queues) for queues in self.scenario.workers]
        for job in self.scenario.asked:
            self.at(job.created, lambda now, job=job: self.queue(job, now))
        for worker in self.workers:
            self.live(worker, 0.0)
        while self.done < len(self.scenario.asked):
            now, _, act = heapq.heappop(self.events)
            act(now)
        drawn = [job for job in self.scenario.asked if job.queue == "gpu.generate"]
        waits = [self.begun[job.id] - job.created for job in drawn]
        single = [self.begun[job.id] - job.created for job in drawn if job.id in self.single]
        return Outcome(waits, single, self.loads, self.loading, self.ended, self.share(), self.losses)

    def queue(self, job: Asked, now: float) -> None:
        if now == job.created and all(each.owner != job.owner for each in self.waiting[job.queue]):
            self.single.add(job.id)
        self.waiting[job.queue].append(job)
        idle = [each for each in self.workers if each.alive and each.job is None and job.queue in each.queues]
        if idle:
            self.claim(self.random.choice(idle), now)

    def claim(self, worker: _Worker, now: float) -> None:
        """The worker takes the next job of one of its queues, which take turns."""
        found = self.next_queue(worker, now)
        if found is None:
            return
        preferred = worker.base if now - worker.since < self.policy.preference else ""
        job = self.policy.choose(self.waiting[found], self.served, Claimer(preferred, worker.person))
        self.waiting[found].remove(job)
        self.served[job.owner, found] = self.begun[job.id] = now
        worker.job, worker.began = job, now
        seconds = self.load(worker, job, preferred, now) + self.left.get(job.id, job.seconds)
        self.at(now + seconds, lambda later, life=worker.life: self.end(worker, life, later))
        if found == "gpu.train" and len(worker.queues) > 1 and self.scenario.training_turn:
            after = now + self.scenario.training_turn
            self.at(after, lambda later, life=worker.life: self.look(worker, life, later))

    def next_queue(self, worker: _Worker, now: float) -> str | None:
        """The queue that is looked into; before a training, for as long as its turn is, drawings that waited for it."""
        if now < worker.draws_until and self.drawings_wait(now):
            return "gpu.generate"
        order = [worker.queues[(worker.turn + at) % len(worker.queues)] for at in range(len(worker.queues))]
        found = next((name for name in order if self.waiting[name]), None)
        worker.turn += found is not None
        if (
            found == "gpu.train"
            and "gpu.generate" in worker.queues
            and self.drawings_wait(now)
            and not worker.draws_until
        ):
            worker.draws_until = now + self.scenario.training_turn
            return "gpu.generate"
        worker.draws_until = 0.0
        return found

    def drawings_wait(self, now: float) -> bool:
        """Whether a drawing has waited for as long as a training may keep it waiting."""
        turn, waiting = self.scenario.training_turn, self.waiting["gpu.generate"]
        return bool(turn and waiting) and now - min(each.created for each in waiting) >= turn

    def look(self, worker: _Worker, life: int, now: float) -> None:
        """A training that had its turn gives its place to drawings, and goes on after them."""
        if worker.job is None or worker.life != life or worker.job.queue != "gpu.train":
            return
        if not self.drawings_wait(now):
            self.at(now + 5.0, lambda later: self.look(worker, life, later))
            return
        job, worker.job, worker.life = worker.job, None, worker.life + 1
        self.count(job, now - worker.began, now)
        self.left[job.id] = self.left.get(job.id, job.seconds) - (now - worker.began)
        self.waiting["gpu.train"].append(job)
        worker.draws_until = now + self.scenario.training_turn
        self.claim(worker, now)

    def load(self, worker: _Worker, job: Asked, preferred: str, now: float) -> float:
        """Seconds until base and person of a job are loaded."""
        seconds = 0.0
        if job.base and job.base != worker.base:
            seconds, self.loads = LOAD_SECONDS[job.base], self.loads + 1
            worker.base, worker.person = job.base, ""
        if job.base and job.base != preferred:
            worker.since = now
        if job.person and job.person != worker.person:
            seconds, worker.person = seconds + PERSON_SECONDS, job.person
        self.loading += seconds
        return seconds

    def end(self, worker: _Worker, life: int, now: float) -> None:
        if worker.job is None or worker.life != life:
            return  # it was killed meanwhile, or gave the job back
        self.count(worker.job, self.left.get(worker.job.id, worker.job.seconds), now)
        worker.job, worker.life, self.done, self.ended = None, worker.life + 1, self.done + 1, now
        self.claim(worker, now)

    def count(self, job: Asked, seconds: float, now: float) -> None:
        """Note work that was done for an owner, for `Outcome.share`."""
        if now <= self.scenario.asked[-1].created and job.created <= self.early:
            self.work[job.owner] += seconds

    def live(self, worker: _Worker, now: float) -> None:
        worker.alive = True
        if self.scenario.killed_every:
            self.at(now + self.random.expovariate(1 / self.scenario.killed_every), lambda at: self.kill(worker, at))
        self.claim(worker, now)

    def kill(self, worker: _Worker, now: float) -> None:
        """The worker dies; its job is queued again when the lease is over, the worker comes back with nothing loaded."""
        if worker.job is not None:
            lost, self.losses = worker.job, self.losses + 1
            self.at(now + LEASE, lambda later: self.queue(lost, later))
        worker.alive, worker.job, worker.life = False, None, worker.life + 1
        worker.base = worker.person = ""
        self.at(now + RESTART, lambda later: self.live(worker, later))

    @property
    def early(self) -> float:
        """Three quarters of the time in which jobs are asked for."""
        return 0.75 * self.scenario.asked[-1].created

    def share(self) -> float:
        """See `Outcome.share`: an owner's equal share is never more than they asked for."""
        demand: dict[str, float] = defaultdict(float)
        for job in self.scenario.asked:
            if job.created <= self.early:
                demand[job.owner] += job.seconds
        left, fair = sum(self.work.values()), {}
        for at, owner in enumerate(sorted(demand, key=lambda each: demand[each])):
            fair[owner] = min(demand[owner], left / (len(demand) - at))
            left -= fair[owner]
        return min((self.work[owner] / each for owner, each in fair.items() if each), default=1.0)


def simulate(scenario: Scenario, policy: Policy, seed: int) -> Outcome:
    """Run a scenario under a policy to its end."""
    return _Run(scenario, policy, seeded(seed)).run()


def seeded(seed: int) -> random.Random:
    """Chance that is the same each time."""
    return random.Random(seed)  # noqa: S311 -- what is asked for, no secret
