"""What mattes cost and how good they are, everybody in every room of tests/rooms.py; docs/benchmarks.md."""

import resource
import statistics
import sys
import time

import numpy as np
import pytest

from pipelines.engines import Engines
from portrait.arrays import Image
from portrait.images.cut_out import measure_residue
from portrait.ports import FaceFinder
from portrait.types import Face
from tests import rooms
from tests.benchmarks.plugin import Record

pytestmark = pytest.mark.bench

MATTE_SECONDS = {"selfie": 1.5, "modnet": 3.0}
"""Of a further photo, on one core."""


def test_errors_and_traces_in_rooms(engines: Engines, finder: FaceFinder, figure: Record) -> None:
    matters = [engines.matter_named(name) for name in ("modnet", "selfie")]
    found = []
    for name in ("astronaut", "long hair", "player"):
        subject = rooms.subject(name)
        for kind in rooms.ROOMS:
            photo, truth, head = rooms.photo(subject, kind)
            face = rooms.face_of(finder.faces(photo, 0), head)
            mattes = [matter.matte(photo, face) for matter in matters]
            found.append([rooms.errors(matte, truth, face) for matte in mattes])
            residues = " ".join(f"{measure_residue(photo, matte, face):.2f}" for matte in (truth, *mattes))
            sys.stdout.write(f"{name} {kind}: {np.round(found[-1], 4).tolist()}; residue {residues}\n")
    ours, former = np.mean(found, axis=0)
    sys.stdout.write(f"error, traces, missing: MODNet {np.round(ours, 4)}, segmenter {np.round(former, 4)}\n")
    figure("Mattes in rooms: error of MODNet over the segmenter's", ours[0] / former[0], "×", at_most=0.6)
    figure("Mattes in rooms: traces of MODNet over the segmenter's", ours[1] / former[1], "×", at_most=0.6)


def test_seconds_and_memory_of_a_matte(
    engines: Engines, astronaut: Image, astronaut_face: Face, figure: Record
) -> None:
    for name in ("selfie", "modnet"):
        matter, took = engines.matter_named(name), []
        for _ in range(4):
            begun = time.perf_counter()
            matter.matte(astronaut, astronaut_face)
            took.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        matter.silhouette(astronaut, astronaut_face)
        quick = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        sys.stdout.write(
            f"{name}: first {took[0]:.2f} s, further {statistics.median(took[1:]):.2f} s, silhouette {quick:.3f} s, "
            f"peak {peak:.2f} GB\n"
        )
        figure(f"A matte of {name}", statistics.median(took[1:]), "s", at_most=MATTE_SECONDS[name])
