"""The figures of `make bench`: the fixture that records them, and one table of all at the end; docs/benchmarks.md.

Loaded by `tests/conftest.py`, so that every test marked `bench` may record, wherever it stands.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.benchmarks import history
from tests.benchmarks.history import LAST, MOST_WORSE, Figure, Row

PROPERTY = "figure"
"""Under this name figures travel with the reports of tests, from other processes too."""
Record: TypeAlias = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bench", "figures of tests that are marked bench")
    group.addoption(
        "--bench-history", metavar="FILE", default="out/bench.jsonl", help="earlier runs, one a line; this one is added"
    )
    group.addoption(
        "--bench-accept", action="store_true", help="take figures that are worse than before as the new measure"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Bench(config), "bench")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Record:
    """`figure(name, value, unit, at_least=…)` or `at_most=…`: a line of the table.

    The test goes on, and fails at its end where a gate is broken. `compared=False`: not with earlier runs. Raises ValueError
    (pydantic) for a value that is not finite and where there is no gate or two, and where the test has the name already.
    """

    def record(name: str, value: float, unit: str, **how: Any) -> None:
        made = Figure(name=name, value=float(value), unit=unit, **how)
        if name in {each.name for each in figures_of(request.node.user_properties)}:
            raise ValueError(f'"{name}" is measured twice')
        request.node.user_properties.append((PROPERTY, made.model_dump()))

    return record


def figures_of(properties: list[tuple[str, Any]]) -> list[Figure]:
    """What a test has recorded."""
    return [Figure.model_validate(value) for name, value in properties if name == PROPERTY]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fails a test whose gates do not hold, once it has told all its figures."""
    yield
    made = figures_of(item.user_properties)
    if not all(each.holds for each in made):
        rows = [history.Row(figure=each) for each in made]
        pytest.fail("\n".join(["A gate does not hold:", *history.table(rows)]), pytrace=False)


class Bench:
    """Collects the figures of a run and prints them beside earlier ones."""

    def __init__(self, config: pytest.Config) -> None:
        self._file = Path(str(config.getoption("bench_history")))
        self._accept = bool(config.getoption("bench_accept"))
        self._measured: list[Figure] = []
        self._lines: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Without the mark they are gates and no measurement: such tests run beside others, and on less."""
        if report.when == "teardown" and "bench" in report.keywords:
            self._measured += figures_of(report.user_properties)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Compare with the history, add to it, and fail the run where something has become worse."""
        if not self._measured or hasattr(session.config, "workerinput"):
            return
        run = history.this_run()
        try:
            runs, told = history.read_history(self._file)
        except OSError as error:
            runs, told = [], [f"Earlier runs were not read: {error}"]
        rows = history.compare(self._measured, runs, run.machine)
        run = run.model_copy(update={"figures": history.recorded(rows, self._accept)})
        told += self._conclusion(rows)
        wrong = not self._accept and any(row.fell for row in rows)
        try:
            history.append_run(self._file, run)
            told.append(f"Added to {self._file}.")
        except OSError as error:
            told.append(f"Not added to earlier runs: {error}")
            wrong = True
        self._lines = [history.heading(run), "", *history.table(rows), "", *told]
        if wrong and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _conclusion(self, rows: Sequence[Row]) -> Iterator[str]:
        for name, times in Counter(row.figure.name for row in rows).items():
            if times > 1:
                yield f'"{name}" is measured by {times} tests.'
        fell = sum(row.fell for row in rows)
        if fell and self._accept:
            yield f"{fell} worse than before by more than {MOST_WORSE:.0%}: the new measure from now on."
        elif fell:
            yield f"{fell} worse than the median of the last {LAST} by more than {MOST_WORSE:.0%}."
            yield "`make bench BENCH=--bench-accept` takes that as the new measure."

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """All figures in one table."""
        if self._lines:
            terminalreporter.section("figures")
            for line in self._lines:
                terminalreporter.write_line(line)
