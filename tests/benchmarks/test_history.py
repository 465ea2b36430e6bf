"""Gates, comparisons with earlier runs on the same machine, broken lines, and the table."""

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.benchmarks import history
from tests.benchmarks.history import Figure, Machine, Row, Run

HERE, THERE = Machine(cpu="AMD EPYC", cores=2), Machine(cpu="AMD EPYC", cores=4)
SECONDS = {"name": "A portrait", "unit": "s", "at_most": 5.0}
SPEED = {"name": "Requests", "unit": "a second", "at_least": 10.0}


def made(what: dict[str, Any], value: float, **how: Any) -> Figure:
    return Figure(value=value, **{**what, **how})


def run(*figures: Figure, machine: Machine = HERE) -> Run:
    return Run(date="2026-11-30T12:00:00+00:00", commit="abc1234", versions={}, machine=machine, figures=figures)


def row(figure: Figure, *earlier: Run) -> Row:
    (found,) = history.compare([figure], earlier, HERE)
    return found


@pytest.mark.parametrize(
    ("figure", "holds"),
    [
        (made(SECONDS, 5.0), True),
        (made(SECONDS, 5.01), False),
        (made(SPEED, 10.0), True),
        (made(SPEED, 9.99), False),
        (made({"name": "Mistakes", "unit": "", "at_most": 0}, 0), True),
        (made({"name": "Mistakes", "unit": "", "at_most": 0}, 1), False),
    ],
)
def test_a_gate_holds_up_to_its_value(figure: Figure, holds: bool) -> None:
    assert figure.holds == holds


@pytest.mark.parametrize("wrong", [{"value": math.nan}, {"value": math.inf}, {"at_least": 1.0}, {"at_most": None}])
def test_a_figure_is_finite_and_has_one_gate(wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {**SECONDS, "value": 1.0, **wrong}
    with pytest.raises(ValidationError):
        Figure(**given)


@pytest.mark.parametrize(
    ("what", "kept", "fell"), [(SECONDS, 1.25, 1.26), (SPEED, 75.0, 74.0)], ids=["less is better", "more is better"]
)
def test_a_fall_of_more_than_a_quarter_is_seen(what: dict[str, Any], kept: float, fell: float) -> None:
    usual = 1.0 if what is SECONDS else 100.0
    earlier = [run(made(what, usual)) for _ in range(3)]
    assert not row(made(what, kept), *earlier).fell
    assert row(made(what, fell), *earlier).fell
    better = usual / 10 if what is SECONDS else 10 * usual
    assert not row(made(what, better), *earlier).fell


def test_it_is_compared_with_the_median_of_the_last_five() -> None:
    earlier = [run(made(SECONDS, value)) for value in (0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 2.0, 1.0, 9.0, 3.0, 1.5)]
    found = row(made(SECONDS, 2.4), *earlier)
    assert (found.last, found.median, found.fell) == (1.5, 2.0, False)
    assert row(made(SECONDS, 2.6), *earlier).fell


def test_runs_of_other_machines_and_of_other_units_are_left_alone() -> None:
    other, minutes = run(made(SECONDS, 0.1), machine=THERE), run(made(SECONDS, 0.1, unit="min"))
    assert row(made(SECONDS, 1.0), other, minutes) == Row(figure=made(SECONDS, 1.0))
    assert row(made(SECONDS, 1.0), run(made(SECONDS, 0.9)), other).median == 0.9


def test_what_fell_is_no_measure_until_it_is_accepted() -> None:
    good, slow = run(made(SECONDS, 1.0)), made(SECONDS, 2.0)
    runs = [good]
    for _ in range(6):  # however often it is measured
        found = row(slow, *runs)
        assert (found.fell, found.median) == (True, 1.0)
        runs.append(run(*history.recorded([found], accept=False)))
    assert runs[-1].figures[0].state == "fell"
    accepted = run(*history.recorded([row(slow, *runs)], accept=True))
    assert accepted.figures[0].state == "accepted"
    found = row(made(SECONDS, 2.1), *runs, accepted)
    assert (found.last, found.median, found.fell) == (2.0, 2.0, False)
    assert history.recorded([found], accept=True)[0].state == "", "there was nothing to accept"


def test_from_nought_everything_that_is_worse_is_a_fall() -> None:
    mistakes = {"name": "Mistakes", "unit": "", "at_most": 3.0}
    assert row(made(mistakes, 1), run(made(mistakes, 0))).fell
    assert not row(made(mistakes, 0), run(made(mistakes, 0))).fell
    growth = {"name": "Growth", "unit": "MB", "at_most": 5.0, "compared": False}
    assert not row(made(growth, 1), run(made(growth, -0.1))).fell


def test_runs_are_read_as_they_were_written_and_broken_lines_are_told(tmp_path: Path) -> None:
    file = tmp_path / "out" / "bench.jsonl"
    assert history.read_history(file) == ([], [])
    first, second = run(made(SECONDS, 1.0, state="accepted")), run(made(SPEED, 20.0), machine=THERE)
    history.append_run(file, first)
    with file.open("a") as lines:
        lines.write('[1]\n\n{"date": "2026-11-3')  # killed while it wrote
    history.append_run(file, second)
    runs, broken = history.read_history(file)
    assert runs == [first, second]
    assert [each.split(" of ")[0] for each in broken] == ["Line 2", "Line 4"]
    file.write_bytes(b"")
    assert history.read_history(file) == ([], [])
    history.append_run(file, first)
    assert file.read_text().count("\n") == 1


def test_the_table_says_what_holds_and_what_became_of_it() -> None:
    rows = history.compare(
        [made(SECONDS, 0.456), made(SPEED, 9.0), made(SPEED, 1234.5, name="New | one", at_least=2000)],
        [run(made(SECONDS, 0.3), made(SPEED, 8.0))],
        HERE,
    )
    lines = list(history.table(rows))
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == list(history.HEAD)
    assert cells[2] == ["A portrait", "0.456", "s", "≤ 5", "yes", "0.3", "0.3", "52% WORSE"]
    assert cells[3] == ["Requests", "9", "a second", "≥ 10", "NO", "8", "8", "12% better"]
    assert cells[4] == ["New / one", "1,234", "a second", "≥ 2,000", "NO", "", "", ""]


def test_a_run_knows_its_versions_and_its_machine() -> None:
    found = history.this_run()
    assert set(found.versions) == {"Python", "numpy", "OpenCV", "onnxruntime", "torch"}
    assert found.machine.cores >= 1
    assert found.machine.cpu
    heading = history.heading(found)
    assert all(each in heading for each in (found.commit, found.machine.cpu, *found.versions.values()))
