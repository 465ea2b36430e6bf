"""How often the guard of pictures keeps back what is decent, and what it costs; the table of docs/guards.md.

`make bench` prints it and writes it to `out/guards.md`.
"""

import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from pipelines.engines import Engines
from pipelines.engines.guards.open_nsfw import OpenNsfw
from tests import decent_pictures
from tests.benchmarks.plugin import Record

pytestmark = pytest.mark.bench


def test_decent_pictures_pass_and_what_that_takes(engines: Engines, figure: Record) -> None:
    guard = engines.guard("open_nsfw")
    assert isinstance(guard, OpenNsfw)
    found: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    for kind, image in decent_pictures.many(engines):
        guard.forget()
        began = time.process_time()
        found[kind].append(guard.probability(image))
        seconds[kind].append(time.process_time() - began)
    lines = ["| pictures | number | from .5 | from .8 | highest | ms each |", "|---|---|---|---|---|---|"]
    for kind in [*found, "all"]:
        values = np.concatenate(list(found.values())) if kind == "all" else np.array(found[kind])
        spent = np.concatenate(list(seconds.values())) if kind == "all" else np.array(seconds[kind])
        numbers = f"{len(values)} | {(values >= 0.5).sum()} | {(values >= 0.8).sum()} | {values.max():.2f}"
        lines.append(f"| {kind} | {numbers} | {1000 * np.median(spent):.0f} |")
    out = Path("out/guards.md")
    out.parent.mkdir(exist_ok=True)
    out.write_text("\n".join(lines), "utf-8")
    sys.stdout.write("\n" + "\n".join(lines) + f"\nwritten to {out}\n")
    every = np.concatenate(list(found.values()))
    assert len(every) >= 200
    figure("Decent pictures that the guard keeps back", (every >= guard.threshold).sum(), f"of {len(every)}", at_most=0)
    spent = [each for kind in seconds.values() for each in kind]
    figure("Judging a picture by the guard: CPU time", 1000 * float(np.median(spent)), "ms", at_most=100)
