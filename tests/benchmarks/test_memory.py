"""What evaluating, enlarging and printing take of memory, each in a process of its own.

docs/evaluating.md, docs/refining.md and docs/benchmarks.md have the tables.
"""

import pytest

from tests.benchmarks import evaluate_memory, tile_memory
from tests.benchmarks.made import table_of
from tests.benchmarks.plugin import Record

pytestmark = pytest.mark.bench

MOST_ON_TOP = 350
"""Megabytes beside the picture and its result, whatever their size: tiles and their borders."""
MOST_KEPT = 750
"""Megabytes that a worker keeps after prints: libraries, models and what is cached for further backdrops."""
MOST_GROWTH = 30
"""Of them that twenty more prints may add, or eight hundred more jobs."""
MOST_OF_WORKER = 800
"""Megabytes of all processes of a worker after a thousand jobs."""


def test_evaluating_many_pictures(figure: Record) -> None:
    ((count, megabytes, seconds),) = table_of("evaluate_memory")
    most = evaluate_memory.MOST_MEGABYTES
    figure(f"Evaluating {count} pictures: memory at the peak", float(megabytes), "MB", at_most=most)
    figure(f"Evaluating {count} pictures, networks aside", float(seconds), "s", at_most=600)


def test_enlarging_in_tiles(figure: Record) -> None:
    found = table_of("tile_memory")
    assert len(found) == len(tile_memory.SIZES)
    for size, _, on_top, _ in found:
        what = f"Enlarging {size} px in tiles: memory beside picture and result"
        # A low picture takes next to nothing.
        figure(what, float(on_top), "MB", at_most=MOST_ON_TOP, compared=not size.endswith("×64"))


@pytest.mark.models
def test_a_worker_after_prints(figure: Record) -> None:
    (_, early, _), (count, late, peak) = table_of("print_memory")
    figure(f"Memory of a worker after {count} prints of 2048 × 2560", float(late), "MB", at_most=MOST_KEPT)
    figure(
        "Memory that twenty further prints add to a worker",
        float(late) - float(early),
        "MB",
        at_most=MOST_GROWTH,
        compared=False,
    )
    figure("Memory of a worker that prints, at the peak", float(peak), "MB", at_most=1000)


@pytest.mark.models
def test_a_worker_after_a_thousand_jobs(figure: Record) -> None:
    (_, early), (count, late) = table_of("worker_memory")
    figure(f"Memory of a worker after {count} jobs", float(late), "MB", at_most=MOST_OF_WORKER)
    growth = float(late) - float(early)
    figure("Memory that eight hundred further jobs add to a worker", growth, "MB", at_most=MOST_GROWTH, compared=False)
