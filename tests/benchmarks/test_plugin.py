"""Runs of pytest with the fixture `figure`: gates fail tests, falls fail runs, and all of it is told in one table."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import history

MEASURING = """
import pytest

@pytest.mark.bench
def test_speed(figure):
    figure("Seconds of a portrait", {seconds}, "s", at_most=5)
    figure("Requests", 20, "a second", at_least=10)

def test_beside_others(figure):
    figure("On less", 1, "s", at_most=2)
"""
BROKEN = """
import pytest

@pytest.mark.bench
def test_both_are_told(figure):
    figure("Too slow", 9, "s", at_most=5)
    figure("Fast enough", 1, "s", at_most=5)

@pytest.mark.bench
def test_figures_of_what_fails_are_told(figure):
    figure("Before it failed", 1, "s", at_most=5)
    raise OSError("no disk")

def test_a_gate_without_the_mark(figure):
    figure("Too many", 3, "", at_most=2)
"""


def measured(folder: Path, code: str, *options: str) -> tuple[int, str]:
    """Exit code and output of a run of its own over one file."""
    (folder / "test_it.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-p", "tests.benchmarks.plugin", "-W", "ignore", "-q", *options]
    given = os.environ | {
        "PYTHONPATH": str(history.ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "CI": "",
        "COLUMNS": "200",
    }
    answer = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True)
    return answer.returncode, answer.stdout + answer.stderr


def test_a_fall_fails_the_run_until_it_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "history.jsonl"
    here = "--bench-history", str(file)
    code, output = measured(tmp_path, MEASURING.format(seconds=1.0), *here)
    assert code == pytest.ExitCode.OK, output
    assert "| Seconds of a portrait | 1 " in output
    assert "On less" not in output, "it is a gate and no measurement"
    code, output = measured(tmp_path, MEASURING.format(seconds=2.0), *here)
    assert (code, "100% WORSE" in output, "2 passed" in output) == (pytest.ExitCode.TESTS_FAILED, True, True), output
    code, output = measured(tmp_path, MEASURING.format(seconds=2.0), *here, "--bench-accept")
    assert (code, "100% WORSE" in output) == (pytest.ExitCode.OK, True), output
    # In processes beside each other, as `pytest -n` runs tests, figures come back with the reports.
    code, output = measured(tmp_path, MEASURING.format(seconds=2.1), *here, "-p", "xdist", "-n", "1")
    assert (code, "5% worse" in output) == (pytest.ExitCode.OK, True), output
    runs, broken = history.read_history(file)
    states = [[each.state for each in run.figures] for run in runs]
    assert (states, broken) == ([["", ""], ["fell", ""], ["accepted", ""], ["", ""]], [])


def test_a_broken_gate_fails_its_test_and_all_figures_are_told(tmp_path: Path) -> None:
    code, output = measured(tmp_path, BROKEN)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "3 failed" in output
    table = output.partition("= figures =")[2]
    assert [each in table for each in ("Too slow", "Fast enough", "Before it failed", "Too many")] == [
        *[True] * 3,
        False,
    ]
    assert "OSError: no disk" in output
    assert (tmp_path / "out" / "bench.jsonl").exists(), "the history's usual place"


def test_a_history_that_cannot_be_written_costs_no_table(tmp_path: Path) -> None:
    code, output = measured(tmp_path, MEASURING.format(seconds=1.0), "--bench-history", str(tmp_path))
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "| Seconds of a portrait | 1 " in output
    assert "Not added to earlier runs" in output


def test_a_run_without_figures_writes_nothing(tmp_path: Path) -> None:
    code, output = measured(tmp_path, "def test_it():\n    pass\n")
    assert (code, "figures" in output, (tmp_path / "out").exists()) == (pytest.ExitCode.OK, False, False)


def test_a_figure_without_a_gate_or_told_twice_is_refused(tmp_path: Path) -> None:
    twice = 'def test_it(figure):\n    for _ in range(2):\n        figure("It", 1, "s", at_most=2)\n'
    assert "is measured twice" in measured(tmp_path, twice)[1]
    assert "needs one gate" in measured(tmp_path, 'def test_it(figure):\n    figure("It", 1, "s")\n')[1]
