"""What is asked of simulated workers, and the table of docs/scaling.md: `python -m tests.benchmarks.claim_scenarios`."""

import itertools
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from tests.benchmarks.claim_simulation import LOAD_SECONDS, POLICIES, Asked, Outcome, Policy, Scenario, seeded, simulate

SEEDS = (1, 2, 3, 4)
"""Of the table in docs/scaling.md."""


def one_big(seed: int, jobs: int = 400) -> Scenario:
    """One owner asks for many jobs at once, forty others for three each within the hour; one base."""
    chance = seeded(seed)
    big = [Asked(f"big{at:05}", "big", 0.0, "sdxl", "big1") for at in range(jobs)]
    small = [
        Asked(f"s{owner:03}-{at}", f"small{owner}", chance.uniform(0, 3600), "sdxl", f"p{owner}")
        for owner, at in itertools.product(range(40), range(3))
    ]
    return Scenario("one big owner, forty small", _in_order([*big, *small]), [("gpu.generate",)] * 3)


def several_bases(seed: int, jobs: int = 600, killed_every: float = 0.0, load: float = 0.85) -> Scenario:
    """Sixty owners ask at random for jobs of four bases, mostly of one each; the work alone keeps workers as busy as `load`."""
    chance, number = seeded(seed), 4
    names = list(LOAD_SECONDS)
    liked = [chance.choices(names, (1, 4, 3, 2))[0] for _ in range(60)]
    asked, now = [], 0.0
    for at in range(jobs):
        now += chance.expovariate(load * number / 20.0)
        owner = chance.randrange(60)
        base = liked[owner] if chance.random() < 0.8 else chance.choice(names)
        asked.append(
            Asked(f"j{at:06}", f"owner{owner}", now, base, f"p{owner}-{chance.randrange(2)}", _drawing(chance))
        )
    name = "four bases" + (", workers killed every ten minutes" if killed_every else f", {100 * load:.0f} % busy")
    return Scenario(name, asked, [("gpu.generate",)] * number, killed_every)


def rare_base(seed: int, jobs: int = 600) -> Scenario:
    """More is asked for of one base than can be drawn, one job in thirty of another one."""
    chance, asked, now = seeded(seed), [], 0.0
    for at in range(jobs):
        now += chance.expovariate(1.3 * 3 / 20.0)
        rare = chance.random() < 1 / 30
        owner = f"rare{chance.randrange(5)}" if rare else f"owner{chance.randrange(40)}"
        asked.append(Asked(f"r{at:05}", owner, now, "flux" if rare else "sdxl", "", _drawing(chance)))
    return Scenario("a rare base beside a crowded one", asked, [("gpu.generate",)] * 3)


def orders(seed: int, count: int = 90) -> Scenario:
    """Orders of eight styles of one person, one base: what a person's LoRA costs to change."""
    chance, asked, now = seeded(seed), [], 0.0
    for order in range(count):
        now += chance.expovariate(0.85 * 3 / 160)
        owner = f"owner{chance.randrange(30)}"
        asked += [Asked(f"o{order:04}-{at}", owner, now, "sdxl", f"p{order}", _drawing(chance)) for at in range(8)]
    return Scenario("orders of eight styles", asked, [("gpu.generate",)] * 3)


def learning(seed: int, jobs: int = 360, dedicated: bool = False, turn: float = 0.0) -> Scenario:
    """People are learned, twenty minutes each, beside drawing; by the same workers, or by two of four that do nothing else."""
    chance, asked, now = seeded(seed), [], 0.0
    for at in range(jobs):
        now += chance.expovariate(0.4 * 4 / 20.0)
        asked.append(Asked(f"d{at:05}", f"owner{chance.randrange(40)}", now, "sdxl", "", _drawing(chance)))
    for at in range(int(now * 0.4 * 4 / 1200)):
        owner = f"owner{chance.randrange(40)}"
        asked.append(Asked(f"t{at:04}", owner, chance.uniform(0, now), "", "", 1200.0, "gpu.train"))
    both = ("gpu.train", "gpu.generate")
    workers = [("gpu.train",)] * 2 + [("gpu.generate",)] * 2 if dedicated else [both] * 4
    how = "two workers for each" if dedicated else f"four for both, {f'turns of {turn:.0f} s' if turn else 'no turns'}"
    return Scenario(f"learning beside drawing, {how}", _in_order(asked), workers, training_turn=turn)


def _drawing(chance: random.Random) -> float:
    """Seconds of a job: four portraits of five seconds, some more, some fewer."""
    return chance.triangular(5, 50, 10)


def _in_order(asked: Sequence[Asked]) -> Sequence[Asked]:
    return sorted(asked, key=lambda job: (job.created, job.id))


def compared(scale: int = 1) -> Sequence[tuple[Callable[[int], Scenario], Sequence[Policy]]]:
    """Makers of scenarios from a seed, `scale` times as long, and the policies that differ there."""
    come, owners, preferred, endless, persons = POLICIES
    return (
        (lambda seed: one_big(seed, 400 * scale), (come, owners)),
        (lambda seed: several_bases(seed, 600 * scale, load=0.6), (come, owners, preferred)),
        (lambda seed: several_bases(seed, 600 * scale), (come, owners, preferred)),
        (lambda seed: several_bases(seed, 600 * scale, killed_every=600.0), (come, owners, preferred)),
        (lambda seed: rare_base(seed, 600 * scale), (owners, preferred, endless)),
        (lambda seed: orders(seed, 90 * scale), (owners, persons)),
        (lambda seed: learning(seed, 360 * scale), (owners,)),
        (lambda seed: learning(seed, 360 * scale, turn=120.0), (owners,)),
        (lambda seed: learning(seed, 360 * scale, dedicated=True), (owners,)),
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """Means over several seeds."""

    loads: float
    """Of base models, a hundred jobs."""
    loading: float
    """Share of the workers' time that went into loading."""
    median: float
    late: float
    """The 95th percentile of waits, seconds."""
    worst: float
    single: float
    """The worst wait of those for whom nothing else waited."""
    share: float
    rate: float
    """Jobs done an hour, of all workers."""


def measured(make: Callable[[int], Scenario], policy: Policy, seeds: Sequence[int]) -> Measured:
    """Run a scenario under a policy from several seeds."""
    each = [_measured(scenario := make(seed), simulate(scenario, policy, seed)) for seed in seeds]
    return Measured(*(statistics.mean(getattr(one, name.name) for one in each) for name in fields(Measured)))


def _measured(scenario: Scenario, outcome: Outcome) -> Measured:
    jobs = len(scenario.asked)
    return Measured(
        100 * outcome.loads / jobs,
        outcome.loading / (outcome.ended * len(scenario.workers)),
        statistics.median(outcome.waits),
        statistics.quantiles(outcome.waits, n=20)[-1],
        max(outcome.waits),
        max(outcome.single),
        outcome.share,
        3600 * jobs / outcome.ended,
    )


HEADER = (
    "| what is asked for | policy | loads a 100 jobs | loading | wait p50 s | p95 s | worst s | alone, worst s | worst share "
    "| jobs an hour |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def table(seeds: Sequence[int] = SEEDS, scale: int = 1) -> Iterator[str]:
    """The lines of the table of docs/scaling.md."""
    yield from HEADER
    for make, policies in compared(scale):
        name = make(seeds[0]).name
        for policy in policies:
            one = measured(make, policy, seeds)
            yield (
                f"| {name} | {policy.name} | {one.loads:.0f} | {100 * one.loading:.0f} % | {one.median:.0f} | {one.late:.0f} "
                f"| {one.worst:.0f} | {one.single:.0f} | {one.share:.2f} | {one.rate:.0f} |"
            )
            name = ""


if __name__ == "__main__":
    sys.stdout.write("\n".join(table()) + "\n")
