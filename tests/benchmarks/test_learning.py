"""How well does a training learn a person? Three strangers × three seeds on the face world; docs/learning.md has the table."""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import PIL.Image
import pytest

from portrait.arrays import Image
from tests.benchmarks.made import Tables
from tests.benchmarks.plugin import Record
from tests.faceworld import drawing, meters, people, training, world
from tests.faceworld.people import Measurements, Stranger
from tests.faceworld.training import ANYBODY, KNOBS, SOMEBODY, Lab

pytestmark = pytest.mark.bench

STRANGERS, SEEDS = (1, 2, 3), (0, 1, 2)
EXAMPLES = 8
"""Scenes of each stranger on the contact sheet."""
SHEET = Path("out") / "learning.png"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One training with prior preservation, measured."""

    who: Stranger
    name: str
    before: Measurements
    somebody: Measurements
    anybody: Measurements
    chosen: str
    chosen_distance: float
    last_distance: float
    merged: float
    parts: Sequence[float]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(meters.load(), tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def runs(studio: Lab) -> list[Run]:
    """All nine."""
    return [run(studio, stranger, seed) for stranger in STRANGERS for seed in SEEDS]


@pytest.fixture(scope="module")
def leaks(studio: Lab) -> list[Measurements]:
    """ "A person" after a training without prior preservation, of each stranger."""
    found = []
    for stranger in STRANGERS:
        who = people.make_stranger(stranger, studio.gauges)
        result, _ = studio.train(who, f"without-{stranger}", training.without_prior())
        found.append(studio.measured(who, ANYBODY, result.lora))
    return found


def run(studio: Lab, stranger: int, seed: int) -> Run:
    """Train on one stranger; the seed is that of training and images."""
    who = people.make_stranger(stranger, studio.gauges)
    name = f"{stranger}-{seed}"
    first = 1000 * seed
    result, store = studio.train(who, name, replace(KNOBS, seed=seed))
    together, parts = training.merged_similarity(studio, who, result, store)
    scores = result.test_results
    made = Run(
        who=who,
        name=name,
        before=studio.measured(who, SOMEBODY, None, first),
        somebody=studio.measured(who, SOMEBODY, result.lora, first),
        anybody=studio.measured(who, ANYBODY, result.lora, first),
        chosen=result.chosen,
        chosen_distance=scores[result.chosen].distance,
        last_distance=scores[f"step {training.STEPS}"].distance,
        merged=together,
        parts=tuple(parts.values()),
    )
    # Told at once: all of them take the better part of an hour.
    sys.stdout.write(f"{name}: {made.before.similarity:.2f} → {made.somebody.similarity:.2f}, by {made.chosen}\n")
    sys.stdout.flush()
    return made


def test_strangers_are_trained_and_everybody_else_stays(
    runs: list[Run], leaks: list[Measurements], studio: Lab, figure: Record
) -> None:
    report(runs, leaks)
    picture(runs, studio)
    learned, anybody = ([getattr(each, name).similarity for each in runs] for name in ("somebody", "anybody"))
    before = abs(mean([each.before.similarity for each in runs]))
    figure("Strangers before learning: likeness", before, "", at_most=0.2, compared=False)
    figure("Strangers learned: likeness, mean", mean(learned), "", at_least=0.72)
    figure("Strangers learned: likeness, least", min(learned), "", at_least=0.6)
    figure("Strangers learned: place among all, worst", max(each.somebody.place for each in runs), "", at_most=1)
    figure('Strangers learned: likeness beyond that of "a person"', mean(learned) - mean(anybody), "", at_least=0.3)
    leaked = mean([leak.similarity for leak in leaks])
    figure('Learned without prior preservation: likeness of "a person"', leaked, "", at_least=0.5)
    figure('Prior preservation: likeness that it takes off "a person"', leaked - mean(anybody), "", at_least=0.3)
    for part in ("background", "shirt"):
        share = mean([getattr(each.somebody, part) for each in runs])
        figure(f"Strangers learned: {part} as the prompt says", share, "share", at_least=0.9)
    beyond = max(each.chosen_distance - each.last_distance for each in runs)
    figure("The chosen checkpoint: distance beyond the last's", beyond, "", at_most=0, compared=False)
    merged = min(each.merged - max(each.parts) for each in runs)
    figure("Merged checkpoints: likeness beyond the best part's, least", merged, "", at_least=-0.02, compared=False)


def mean(numbers: Sequence[float]) -> float:
    return statistics.fmean(numbers)


def report(runs: list[Run], leaks: list[Measurements]) -> None:
    tables = Tables()
    head = ("stranger-seed", "before", "after", '"a person"', "rank of 201", "nearest", "background", "shirt", "hat")
    rows = [
        (
            each.name,
            f"{each.before.similarity:.2f}",
            f"{each.somebody.similarity:.2f}",
            f"{each.anybody.similarity:.2f}",
            f"{each.before.rank:.0f} → {each.somebody.rank:.0f}",
            f"{each.somebody.nearest:.2f}",
            *(f"{share:.2f}" for share in (each.somebody.background, each.somebody.shirt, each.somebody.hat)),
        )
        for each in runs
    ]
    tables.add("With prior preservation", head, rows)
    choices = [
        (
            each.name,
            each.chosen,
            *(f"{number:.3f}" for number in (each.chosen_distance, each.last_distance, each.merged)),
            " ".join(f"{part:.3f}" for part in each.parts),
        )
        for each in runs
    ]
    tables.add("The choice", ("", "chosen", "its distance", "the last's", "merge", "its parts"), choices)
    names = [field.name for field in fields(Measurements)]
    tables.add('"A person" without', names, [[f"{number:.2f}" for number in astuple(leak)] for leak in leaks])
    sys.stdout.write("\n" + tables.text())


def picture(runs: list[Run], studio: Lab) -> None:
    """For the first seed of each stranger: the photos; before, after, and somebody else, in the same scenes."""
    rows: list[list[Image]] = []
    for each in runs[:: len(SEEDS)]:
        file = studio.folder / each.name / "lora.safetensors"
        rows.append(each.who.pictures())
        rows.append(
            world.to_images(world.render(each.who.traits.expand(EXAMPLES, -1), each.who.test_scenes[:EXAMPLES]))
        )
        for name, weights in ((SOMEBODY, None), (SOMEBODY, file), (ANYBODY, file)):
            rows.append(studio.draw(each.who, name, weights)[:EXAMPLES])
    SHEET.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(drawing.contact_sheet(rows)).save(SHEET)
