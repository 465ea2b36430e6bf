"""How long a portrait takes, and how the cost grows with its size; docs/benchmarks.md."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipelines.engines import Engines
from portrait.arrays import Image, Size
from portrait.photos.quality import judge
from portrait.photos.reasons import Thresholds
from portrait.ports import Painter
from portrait.types import Face, Identity, PortraitRequest, Reference, Style, StylePicture
from tests.benchmarks.plugin import Record
from tests.fakes import RecordingProgress

pytestmark = pytest.mark.bench

ROUNDS = 3
"""Medians of so many runs, after one to warm up."""


@pytest.fixture(scope="module")
def person(astronaut: Image, astronaut_face: Face) -> Identity:
    quality = judge(astronaut, astronaut_face, 1, Thresholds())
    return Identity("a", (Reference("a.png", astronaut, astronaut_face, quality),), astronaut_face.embeddings)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU time of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def report(line: str) -> None:
    sys.stdout.write(line + "\n")


def studio(backdrop: str, person: Identity, size: Size) -> PortraitRequest:
    return PortraitRequest({1: person}, Style(backdrop, 1, "studio", backdrop, backdrop), 0, 1, size)


def test_first_backdrop_and_each_further_one(engines: Engines, person: Identity, figure: Record) -> None:
    size, names = Size(1024, 1280), ["studio-grey", "studio-warm", "studio-office", "studio-outdoors"]
    painter: Painter = engines.painter("studio")
    painter.paint(studio("studio-black", person, size), RecordingProgress())
    first, further = [], []
    for number in range(ROUNDS):
        # Another name is another selfie to the painter: nothing that was kept serves it.
        fresh = replace(person, references=(replace(person.references[0], name=f"{number}.png"),))
        first.append(
            seconds(lambda fresh=fresh: painter.paint(studio("studio-black", fresh, size), RecordingProgress()))[0]
        )
        further += [
            seconds(lambda name=name, fresh=fresh: painter.paint(studio(name, fresh, size), RecordingProgress()))[0]
            for name in names
        ]
    report(
        f"\nstudio 1024×1280: first backdrop {statistics.median(first):.2f} s, each further {statistics.median(further):.2f} s"
    )
    figure("Studio 1024×1280, first backdrop", statistics.median(first), "s", at_most=1.2)
    figure("Studio 1024×1280, each further backdrop", statistics.median(further), "s", at_most=0.08)


def test_fusion_and_how_it_grows(engines: Engines, person: Identity, astronaut: Image, figure: Record) -> None:
    painter, finder = engines.painter("fusion"), engines.finder()
    costs = {}
    for side in (512, 1024, 2048, 4096):
        picture = np.asarray(cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
        faces = tuple(finder.faces(picture, embedded=0))
        style = Style("t", 1, "template", "T", picture=StylePicture(picture, faces))
        request = PortraitRequest({1: person}, style, 0, 1)
        painter.paint(request, RecordingProgress())
        costs[side] = statistics.median(
            seconds(lambda request=request: painter.paint(request, RecordingProgress()))[0] for _ in range(ROUNDS)
        )
        drawn = len(painter.paint(request, RecordingProgress()))
        report(f"fusion onto {side} px: {costs[side]:.2f} s for {drawn} candidates")
    figure("Fusion onto 1024 px, two candidates", costs[1024], "s", at_most=0.5)
    figure("Fusion onto 64 times the pixels", costs[4096] / costs[512], "×", at_most=64)


def test_studio_grows_at_most_with_its_pixels(engines: Engines, person: Identity, figure: Record) -> None:
    painter, first, further = engines.painter("studio"), {}, {}
    for side in (512, 512, 1024, 2048, 4096):  # the first one warms up
        size = Size(side, side * 5 // 4)
        fresh = replace(person, references=(replace(person.references[0], name=f"{len(first)} {side}.png"),))
        for name, costs in (("grey", first), ("warm", further)):
            request = studio(f"studio-{name}", fresh, size)
            costs[side] = seconds(lambda request=request: painter.paint(request, RecordingProgress()))[0]
        report(f"studio {size.width}×{size.height}: first backdrop {first[side]:.2f} s, further {further[side]:.3f} s")
    figure("Studio of 64 times the pixels, first backdrop", first[4096] / first[512], "×", at_most=64)
    # People of more than some 7 megapixels are framed again for each backdrop: they would take 175 MB.
    figure("Studio of 16 times the pixels, further backdrop", further[2048] / further[512], "×", at_most=16)
