"""How well are people drawn by reference, by a LoRA, and by both? The flow world: docs/learning.md has the tables."""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import PIL.Image
import pytest
import torch

from portrait.arrays import Image
from tests.benchmarks.made import Tables
from tests.benchmarks.plugin import Record
from tests.faceworld import captions, drawing, flow_drawing, flow_training, meters, people, world
from tests.faceworld.flow_training import KNOBS, FlowLab
from tests.faceworld.people import Measurements, Stranger
from tests.faceworld.training import ANYBODY, SOMEBODY

pytestmark = pytest.mark.bench

MANY = 48
"""Strangers who are drawn by one reference."""
STRANGERS, SEEDS = (1, 2, 3), (0, 1, 2)
EXAMPLES = 8
SHEET = Path("out") / "learning-flow.png"
REFERENCES_SHEET = Path("out") / "references-flow.png"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> FlowLab:
    return FlowLab(meters.load(), tmp_path_factory.mktemp("studio"))


def test_strangers_are_drawn_by_one_reference(studio: FlowLab, figure: Record) -> None:
    random = torch.Generator().manual_seed(4_800)
    who = world.people(MANY, random)
    seen, wanted = world.scenes(MANY, random), world.scenes(MANY, random)
    references = world.to_images(world.render(who, seen))
    texts = [captions.caption("a person", wanted, number) for number in range(MANY)]
    pipe = flow_training.pipeline()
    by_reference = [
        flow_drawing.draw(pipe, [text], [number], flow_drawing.enlarge(references[number]))[0]
        for number, text in enumerate(texts)
    ]
    without = flow_drawing.draw(pipe, texts, range(MANY))
    goal = studio.gauges.embed(world.render(who, wanted))
    vectors, read = meters.measure(studio.gauges, by_reference)
    alike = vectors @ goal.T
    own = alike.diagonal()
    ranks = 1 + (alike > own[:, None]).sum(dim=1)
    shares = meters.accuracy(read, wanted)
    strange = float((meters.measure(studio.gauges, without)[0] * goal).sum(dim=1).mean())
    wrong = float((vectors.roll(1, 0) * goal).sum(dim=1).mean())
    numbers = (float(own.mean()), strange, wrong)
    row = (
        *(f"{each:.2f}" for each in numbers),
        f"{float(ranks.float().median()):.0f}",
        *(f"{shares[name]:.2f}" for name in ("background", "shirt", "hat")),
    )
    tables = Tables()
    head = ("likeness", "without", "another's", f"median rank of {MANY}", "background", "shirt", "hat")
    tables.add(f"{MANY} strangers by one reference", head, [row])
    sys.stdout.write("\n" + tables.text())
    rows = [references[:12], world.to_images(world.render(who, wanted))[:12], by_reference[:12], without[:12]]
    REFERENCES_SHEET.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(drawing.contact_sheet(rows)).save(REFERENCES_SHEET)
    figure("Strangers by one reference: likeness", float(own.mean()), "", at_least=0.80)
    figure(f"Strangers by one reference: median rank of {MANY}", float(ranks.float().median()), "", at_most=1)
    least = min(shares[name] for name in ("background", "shirt", "hat"))
    figure("Strangers by one reference: scene as the prompt says, least", least, "share", at_least=0.95)
    figure("Strangers without a reference: likeness", abs(strange), "", at_most=0.2, compared=False)
    figure("Strangers by another's reference: likeness", abs(wrong), "", at_most=0.2, compared=False)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One training with prior preservation, measured."""

    who: Stranger
    name: str
    lora: Path
    before: Measurements
    somebody: Measurements
    anybody: Measurements
    reference: Measurements
    both: Measurements


def test_strangers_are_learned_and_everybody_else_stays(studio: FlowLab, figure: Record) -> None:
    runs = [run(studio, stranger, seed) for stranger in STRANGERS for seed in SEEDS]
    leaks = [leak(studio, stranger) for stranger in STRANGERS]
    report(runs, leaks)
    picture(runs, studio)
    learned = [each.somebody.similarity for each in runs]
    figure("Strangers learned, flow: likeness, mean", mean(learned), "", at_least=0.85)
    figure("Strangers learned, flow: likeness, least", min(learned), "", at_least=0.75)
    anybody = mean([each.anybody.similarity for each in runs])
    figure('Strangers learned, flow: likeness of "a person"', anybody, "", at_most=0.15, compared=False)
    leaked = mean([each.similarity for each in leaks])
    figure('Learned without prior preservation, flow: likeness of "a person"', leaked, "", at_least=0.5)
    before = abs(mean([each.before.similarity for each in runs]))
    figure("Strangers before learning, flow: likeness", before, "", at_most=0.2, compared=False)
    figure("Strangers learned, flow: place among all, worst", max(each.somebody.place for each in runs), "", at_most=1)
    better = [max(each.somebody.similarity, each.reference.similarity) for each in runs]
    both = mean([each.both.similarity for each in runs]) - mean(better)
    figure("LoRA and reference together: likeness beyond the better of both", both, "", at_least=-0.03, compared=False)
    for part in ("background", "shirt"):
        share = mean([getattr(each.somebody, part) for each in runs])
        figure(f"Strangers learned, flow: {part} as the prompt says", share, "share", at_least=0.95)


def run(studio: FlowLab, stranger: int, seed: int) -> Run:
    """Train on one stranger; the seed is that of training and images."""
    who = people.make_stranger(stranger, studio.gauges)
    name, first = f"{stranger}-{seed}", 1000 * seed
    result, _ = studio.train(who, name, replace(KNOBS, seed=seed))
    assert result.lora is not None
    made = Run(
        who,
        name,
        result.lora,
        studio.measured(who, SOMEBODY, None, first),
        studio.measured(who, SOMEBODY, result.lora, first),
        studio.measured(who, ANYBODY, result.lora, first),
        studio.measured_by_reference(who, ANYBODY, None, first),
        studio.measured_by_reference(who, SOMEBODY, result.lora, first),
    )
    sys.stdout.write(f"{name}: LoRA {made.somebody.similarity:.2f}, both {made.both.similarity:.2f}\n")
    sys.stdout.flush()
    return made


def leak(studio: FlowLab, stranger: int) -> Measurements:
    """ "A person" after a training without prior preservation."""
    who = people.make_stranger(stranger, studio.gauges)
    result, _ = studio.train(who, f"without-{stranger}", flow_training.without_prior())
    return studio.measured(who, ANYBODY, result.lora)


def mean(numbers: Sequence[float]) -> float:
    return statistics.fmean(numbers)


def report(runs: Sequence[Run], leaks: Sequence[Measurements]) -> None:
    head = ("stranger-seed", "before", "LoRA", '"a person"', "reference", "both", "background", "shirt", "hat")
    rows = [
        (
            each.name,
            *(
                f"{measured.similarity:.2f}"
                for measured in (each.before, each.somebody, each.anybody, each.reference, each.both)
            ),
            *(f"{share:.2f}" for share in (each.somebody.background, each.somebody.shirt, each.somebody.hat)),
        )
        for each in runs
    ]
    leaked = [(f"{number}", f"{each.similarity:.2f}") for number, each in enumerate(leaks, 1)]
    tables = Tables()
    tables.add("Learned with prior preservation", head, rows)
    tables.add('"A person" without prior preservation', ("stranger", "likeness"), leaked)
    sys.stdout.write("\n" + tables.text())


def picture(runs: Sequence[Run], studio: FlowLab) -> None:
    """A sheet for each stranger: two of the photos and what the prompts ask for, before, LoRA, "a person", both."""
    rows: list[list[Image]] = []
    for each in (runs[0], runs[len(SEEDS)], runs[2 * len(SEEDS)]):
        photos = each.who.pictures()
        reference = flow_drawing.enlarge(photos[0])
        rows.append(photos)
        rows += [
            studio.draw(each.who, SOMEBODY, None)[:EXAMPLES],
            studio.draw(each.who, SOMEBODY, each.lora)[:EXAMPLES],
            studio.draw(each.who, ANYBODY, each.lora)[:EXAMPLES],
            studio.draw(each.who, ANYBODY, None, 0, reference)[:EXAMPLES],
            studio.draw(each.who, SOMEBODY, each.lora, 0, reference)[:EXAMPLES],
        ]
    SHEET.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(drawing.contact_sheet(rows)).save(SHEET)
