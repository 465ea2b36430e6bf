"""Small faces: distance to the photo as it was, by size and state, in three ways of enlarging; for docs/judging.md.

The faces of 64 pixels are the photos reduced; those of 100 and 150 come from photos that were enlarged twice before, since the
originals have no more than 94 to 120.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.engines import Engines
from tests import selfies
from tests.benchmarks.plugin import Record
from tests.small_faces import SmallFaces

WAYS = ("lanczos", "classic", "enhanced")


@pytest.mark.bench
def test_small_faces(engines: Engines, figure: Record) -> None:
    upscaler = engines.detailer()
    assert upscaler is not None
    measure = SmallFaces(engines.finder(), upscaler)
    every: list[dict[str, float]] = []
    lines = [f"| px | state | {' | '.join(WAYS)} | worst |", "|---|---|---|---|---|---|"]
    for width in (64, 100, 150):
        for poor in (False, True):
            found = []
            for photo in selfies.people().values():
                image = photo if width == 64 else cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_LANCZOS4)
                found.append(measure.distances(np.asarray(image, np.uint8), width, poor))
            every += found
            means = " | ".join(f"{np.mean([each[way] for each in found]):.3f}" for way in WAYS)
            worst = max(each["enhanced"] - each["lanczos"] for each in found)
            lines.append(f"| {width} | {'poor' if poor else 'mild'} | {means} | {worst:+.3f} |")
            print(lines[-1], flush=True)  # noqa: T201 -- a table to read
    Path("out").mkdir(exist_ok=True)
    Path("out/small_faces.md").write_text("\n".join(lines) + "\n")
    enhanced, lanczos = (float(np.mean([each[way] for each in every])) for way in ("enhanced", "lanczos"))
    figure("Small faces: distance with detail over that of enlarging alone", enhanced / lanczos, "×", at_most=0.97)
    worst = max(each["enhanced"] - each["lanczos"] for each in every)
    figure("Small faces: distance that detail adds to the worst face", worst, "", at_most=0.03, compared=False)
