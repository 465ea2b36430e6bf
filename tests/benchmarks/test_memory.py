"""What evaluating and enlarging take of memory, each in a process of its own; docs/evaluating.md, docs/refining.md."""

import pytest

from tests.benchmarks import evaluate_memory, tile_memory
from tests.benchmarks.made import table_of
from tests.benchmarks.plugin import Record

pytestmark = pytest.mark.bench

MOST_ON_TOP = 350
"""Megabytes beside the picture and its result, whatever their size: tiles and their borders."""


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
