"""docs/scaling.md says what the code computes, and what the code was given is what the ledger and the networks have."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.files import Files
from tasks.jobs import Job
from tasks.ledger.ledger import Ledger
from tasks.queue.retention import erase_expired
from tasks.settings import RetentionSettings
from tests.benchmarks import scaling
from tests.benchmarks.ledger_rows import TABLES, bytes_a_row, rows_of
from tests.benchmarks.plugin import Record
from tests.benchmarks.scaling import NETWORKS, PAGE, ROW_BYTES, ROWS, Assumptions, Prices, amounts, cost, filled
from tests.tasks import conftest
from tests.tasks.stand import new_job

# Servers and databases are those of the tests of jobs.
started, migrated, database, ledger = conftest.started, conftest.migrated, conftest.database, conftest.ledger

OWNERS = 80
"""Enough that rows fill most of their pages."""
COUNTED = ("flux2_klein", "zimage")
"""Networks that are counted within seconds; the others in `make bench`."""


def test_the_tables_of_the_page_are_what_is_computed() -> None:
    text = PAGE.read_text("utf-8")
    assert text.count("<!-- table:") == len(scaling.TABLES)
    assert filled(text) == text, "run python -m tests.benchmarks.scaling"


def test_the_page_names_what_is_assumed() -> None:
    given, text = Assumptions(), PAGE.read_text("utf-8")
    named = [
        f"| photos | {scaling.PHOTOS} of {given.photo_bytes / 1e6:.0f} MB |",
        f"| training sets | 1 of {given.set_bytes / 1e6:.0f} MB, {given.set_objects} files |",
        f"{scaling.STEPS} steps | [training.md]",
        f"| a portrait | {given.portrait_bytes / 1e6:.2f} MB |",
        f"| each portrait is fetched | {given.reads:.0f} times |",
        f"| requests | {given.gets} that read, {given.posts} that write, and {given.pages} pages of the app |",
        f"{scaling.PAGE_SECONDS * 1000:.0f} ms of a processor",
        f"{scaling.WRITES:,.0f} transactions a second",
        f"| the busiest hour | {given.peak:.0f} times the mean |",
        f"| a worker works | {given.busy * 100:.0f} % of its time at most |",
        f"one answers {scaling.GETS:.0f} requests a second that read and {scaling.POSTS:.0f} that write",
        ", ".join(f"{card} {speed:.0f}" for card, speed in scaling.CARDS.items()),
        f"reach {scaling.SPEED_SHARE * 100:.0f} % of the",
    ]
    assert [each for each in named if each not in text] == []
    measured = (PAGE.parent / "benchmarks.md").read_text("utf-8")
    assert f"| GET /v1/jobs/ID | redis | postgresql | {scaling.GETS:.0f} |" in measured
    assert f"| POST /v1/generations | redis | postgresql | {scaling.POSTS:.0f} |" in measured


def test_a_hundred_times_the_people_take_a_hundred_times_as_much() -> None:
    small, large = amounts(1e6), amounts(1e8)
    assert large.stored == pytest.approx(100 * small.stored)
    assert large.gpu_hours == pytest.approx(100 * small.gpu_hours)
    assert large.drawing == pytest.approx(100 * small.drawing, rel=0.01)
    one = amounts(1)
    assert (one.drawing, one.learning, one.apis, one.apps, one.ledgers) == (1, 1, 1, 1, 1), (
        "there is no half of a machine"
    )


def test_amounts_are_as_worked_out_by_hand() -> None:
    given = amounts(1000)
    # 1,451,520 numbers for each of 16 ranks, 4 bytes each, two files of 1,000 people
    assert given.loras == 1000 * 2 * 4 * 16 * 1_451_520
    assert given.photos == 1000 * 12 * 4e6
    assert given.jobs == pytest.approx(12_000 / 2_592_000)
    # 25 steps, of which 0.8 take two passes of 6.803 TFLOP, at 0.35 of 121 teraflops a second
    portrait = 25 * 1.8 * 6.803 / (0.35 * 121)
    # 800 steps of 2.3 passes; 8 × 4 + 24 pictures of 20 steps of two passes
    learning = (800 * 2.3 + (8 * 4 + 24) * 20 * 2) * 6.803 / (0.35 * 121)
    assert given.gpu_hours == pytest.approx(1000 * (40 * portrait + learning) / 3600)


def test_money_is_amounts_times_prices() -> None:
    given = amounts(1e6)
    paid = cost(given, Prices(gpu=2.0, storage=0.02, put=0.005, database=0.1))
    assert paid["gpu"] == 2 * given.gpu_hours
    assert paid["storage"] == pytest.approx(0.02 * given.stored / 1e9)
    assert paid["put"] == pytest.approx(0.005 * given.objects / 1000)
    assert paid["egress"] == 0, "without a price it costs nothing"


def test_rows_are_as_large_as_the_page_says(ledger: Ledger) -> None:
    assert {table: len(rows) for table, rows in rows_of(0, 0.0).items()} == dict(ROWS)
    found = bytes_a_row(ledger, OWNERS)
    said = ROW_BYTES["sqlite" if ledger.database.sqlite else "postgresql"]
    # Of tables with one row a person the pages are not full yet.
    many = [table for table in TABLES if ROWS[table] > 1]
    assert {table: found[table] for table in many} == pytest.approx({table: said[table] for table in many}, rel=0.35)


@pytest.mark.networks
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[] if each in COUNTED else pytest.mark.bench) for each in NETWORKS]
)
def test_networks_are_as_large_as_the_page_says(name: str, tmp_path: Path) -> None:
    from pipelines.diffusion.training import estimate
    from tests.benchmarks import network_costs

    said, family = NETWORKS[name], network_costs.base(name, tmp_path / "base").family
    assert network_costs.lora_factors(name, tmp_path / "factors") == said.factors
    assert network_costs.forward_flops(name, tmp_path / "passes") / 1e12 == pytest.approx(said.teraflop, abs=0.001)
    assert family.rank == said.rank
    if name != "flux2_klein":  # people are drawn on the distilled base, in four steps
        assert family.presets["balanced"].steps == said.steps
    assert (estimate.SPEED_SHARE["cuda"], estimate.FORWARD_PASSES["light"]) == (
        scaling.SPEED_SHARE,
        scaling.STEP_PASSES,
    )


@pytest.mark.networks
def test_a_lora_is_written_twice_in_float32(tmp_path: Path) -> None:
    import torch

    from pipelines.diffusion.base import lora
    from tests.benchmarks import network_costs

    found = network_costs.base("sd15", tmp_path / "base")
    denoiser = network_costs.empty_denoiser(found).to_empty(device="cpu").requires_grad_(False)
    lora.add_adapter(denoiser, 4, found.family.lora_targets(denoiser), 0)
    weights = lora.get_weights({"unet": denoiser})
    assert {each.dtype for each in weights.values()} == {torch.float32}
    files = lora.write_both(weights, found.family, found.family.kohya_config(found.denoiser_config), "sks", tmp_path)
    said = NETWORKS["sd15"].lora_bytes(4)
    assert [file.stat().st_size for file in files] == pytest.approx([said, said], rel=0.05)


@pytest.mark.bench
def test_rows_of_many_owners(ledger: Ledger) -> None:
    found = {table: round(each) for table, each in bytes_a_row(ledger, 1500).items()}
    sys.stdout.write(f"\n{found}\n")
    said = ROW_BYTES["sqlite" if ledger.database.sqlite else "postgresql"]
    assert found == pytest.approx(dict(said), rel=0.1)


@pytest.mark.bench
def test_how_much_a_ledger_writes_and_a_keeper_erases(ledger: Ledger, tmp_path: Path, figure: Record) -> None:
    """Progress of eight running jobs, by eight threads; people without photos, each in a transaction, and jobs."""
    jobs: list[Job] = []
    for at in range(8):
        ledger.jobs.add(new_job(f"owner{at}", created=float(at)))
        job = ledger.queue.claim(f"w{at}", "cpu", {"draw:studio"}, time.time(), 600)
        assert job is not None
        jobs.append(job)

    def report(at: int) -> None:
        for step in range(250):
            ledger.queue.report(jobs[at], time.time(), "drawing", step / 250, "Drawing")

    seconds = timed(lambda: list(_POOL.map(report, range(8))))
    for at in range(300):
        ledger.people.add("ann", f"Ann {at}", "1", "Ann", 0.0)
    kept = RetentionSettings(people_days=1.0, portraits_days=1.0, templates_days=1.0, jobs_days=1.0)
    erased = timed(lambda: erase_expired(ledger, Files(tmp_path), kept, 1e6))
    for at in range(2000):
        ledger.jobs.cancel("ann", ledger.jobs.add(new_job(created=float(at))).id, float(at))
    pruned = timed(lambda: [None for _ in iter(lambda: ledger.queue.prune(1e9), [])])
    kind = ledger.database.engine.dialect.name
    figure(f"Reports of progress on {kind}", 2000 / seconds, "a second", at_least=50, compared=False)
    figure(f"People erased on {kind}", 300 / erased, "a second", at_least=5, compared=False)
    figure(f"Jobs erased on {kind}", 2000 / pruned, "a second", at_least=500, compared=False)


_POOL = ThreadPoolExecutor(8)


def timed(act: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
