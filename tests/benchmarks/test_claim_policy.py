"""The policy of claims, simulated: it is the one of the ledger, nobody starves, and bases are seldom loaded."""

import random
import sys

import pytest

from tasks.ledger.ledger import Ledger
from tests.benchmarks import claim_scenarios as scenarios
from tests.benchmarks.claim_simulation import POLICIES, Asked, Claimer, Scenario, seeded, simulate
from tests.benchmarks.plugin import Record
from tests.tasks import conftest
from tests.tasks.stand import new_job

# Servers and databases are those of the tests of jobs.
started, migrated, database, ledger = conftest.started, conftest.migrated, conftest.database, conftest.ledger

FIRST_COME, IN_TURN, PREFERRED, ENDLESS, PERSON = POLICIES
QUEUES, JOBS = 12, 12
"""Seeded queues on each database, and jobs in each."""
ABILITIES = {"base:sdxl:lora", "base:flux:lora", "prepare"}


def test_the_simulation_claims_what_the_ledger_claims(ledger: Ledger) -> None:
    for seed in range(QUEUES):
        chance, queue = seeded(seed), f"q{seed}"
        waiting = [_added(ledger, chance, queue) for _ in range(JOBS)]
        served: dict[tuple[str, str], float] = {}
        for now in range(1000, 1000 + JOBS):
            base = chance.choice(["", "sdxl", "flux", "absent"])
            expected = PREFERRED.choose(waiting, served, Claimer(base))
            claimed = ledger.queue.claim("w", queue, ABILITIES, now, 60, base)
            assert claimed is not None
            assert claimed.id == expected.id, f"seed {seed}, claim {now - 999}"
            waiting.remove(expected)
            served[expected.owner, queue] = now
        assert ledger.queue.claim("w", queue, ABILITIES, 2000, 60) is None


def _added(ledger: Ledger, chance: random.Random, queue: str) -> Asked:
    """A random job, in the ledger and as the simulation knows it."""
    base, priority = chance.choice(["", "sdxl", "flux"]), chance.choice([0, 0, 0, 0, 5])
    needs = frozenset({f"base:{base}:lora"} if base else {"prepare"})
    owner, created = f"owner{chance.randrange(4)}", float(chance.randrange(6))
    job = ledger.jobs.add(new_job(owner, created, queue=queue, needs=needs, priority=priority))
    return Asked(job.id, job.owner, job.created, base, queue=queue, priority=priority)


def test_a_small_scenario_is_as_worked_out_by_hand() -> None:
    asked = [
        Asked("a", "ann", 0.0, "sdxl", "", 10.0),
        Asked("b", "ann", 1.0, "flux", "", 10.0),
        Asked("c", "ben", 2.0, "sdxl", "", 10.0),
        Asked("d", "ben", 3.0, "flux", "", 10.0),
    ]
    scenario = Scenario("by hand", asked, [("gpu.generate",)])
    # 7 s to load sdxl, 34 s to load flux: a 0..17, b 17..61, c 61..78, d 78..122
    in_order = simulate(scenario, FIRST_COME, 1)
    assert (list(in_order.waits), in_order.loads, in_order.ended) == ([0, 16, 59, 75], 4, 122)
    # a 0..17, c 17..27, b 27..71, d 71..81
    preferred = simulate(scenario, PREFERRED, 1)
    assert (list(preferred.waits), preferred.loads, preferred.ended) == ([0, 26, 15, 68], 2, 81)
    assert (in_order.loading, preferred.loading) == (82, 41)


def test_a_training_gives_its_place_to_drawings_and_goes_on_after_them() -> None:
    asked = [Asked("t", "ann", 0.0, seconds=600.0, queue="gpu.train"), Asked("d", "ben", 10.0, seconds=20.0)]
    alone = Scenario("by hand", asked, [("gpu.train", "gpu.generate")])
    shared = Scenario("by hand", asked, [("gpu.train", "gpu.generate")], training_turn=120.0)
    assert [*simulate(alone, IN_TURN, 1).waits, simulate(alone, IN_TURN, 1).ended] == [590, 620]
    assert [*simulate(shared, IN_TURN, 1).waits, simulate(shared, IN_TURN, 1).ended] == [120, 620]


def test_jobs_of_killed_workers_are_done_all_the_same() -> None:
    scenario = scenarios.several_bases(1, 200, killed_every=300.0)
    found = simulate(scenario, PREFERRED, 1)
    assert len(found.waits) == 200
    assert found.losses > 10
    assert found == simulate(scenario, PREFERRED, 1), "the same from the same seed"


def test_who_asks_for_little_does_not_wait_for_who_asks_for_much() -> None:
    first, turns = (scenarios.measured(scenarios.one_big, policy, [1, 2]) for policy in (FIRST_COME, IN_TURN))
    assert first.single > 1000
    assert turns.single < 60


def test_a_preferred_base_is_loaded_seldom_and_all_wait_less() -> None:
    turns, preferred = (scenarios.measured(scenarios.several_bases, policy, [1, 2]) for policy in (IN_TURN, PREFERRED))
    assert preferred.loads < turns.loads / 3
    assert preferred.rate > 1.2 * turns.rate
    assert preferred.median < turns.median / 3
    assert preferred.late < turns.late / 2


def test_a_rare_base_has_its_turn_beside_a_crowded_one() -> None:
    turns, preferred, endless = (
        scenarios.measured(scenarios.rare_base, policy, [1, 2]) for policy in (IN_TURN, PREFERRED, ENDLESS)
    )
    assert preferred.single < 1.3 * turns.single
    assert preferred.share > 0.5
    assert endless.single > 5 * turns.single, "a preference without an end would let it starve"


def test_preferring_people_gains_nothing() -> None:
    turns, person = (scenarios.measured(scenarios.orders, policy, [1, 2]) for policy in (IN_TURN, PERSON))
    assert person.rate < 1.02 * turns.rate
    assert person.single > 2 * turns.single


def test_drawings_wait_less_where_a_training_gives_its_place() -> None:
    alone, shared = (
        scenarios.measured(lambda seed, turn=turn: scenarios.learning(seed, turn=turn), IN_TURN, [1, 2])
        for turn in (0.0, 120.0)
    )
    assert shared.late < alone.late / 2
    assert shared.rate > 0.9 * alone.rate


@pytest.mark.bench
def test_the_same_for_ten_times_as_long(figure: Record) -> None:
    sys.stdout.write("\n" + "\n".join(scenarios.table(range(1, 5), 10)) + "\n")
    turns, preferred = (
        scenarios.measured(lambda seed: scenarios.several_bases(seed, 6000), policy, [1, 2])
        for policy in (IN_TURN, PREFERRED)
    )
    figure("Bases loaded with a preference over in turn, simulated", preferred.loads / turns.loads, "×", at_most=0.333)
    figure("Worst share of an owner with a preference over in turn", preferred.share / turns.share, "×", at_least=1.001)
