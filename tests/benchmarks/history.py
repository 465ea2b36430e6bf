"""What was measured and in which runs: gates, what has become worse than before, and the table of all; docs/benchmarks.md."""

import math
import os
import platform
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError, model_validator

LAST = 5
"""Of so many earlier runs the median is what a figure is compared with."""
MOST_WORSE = 0.25
"""Share of that median by which a figure may be worse."""
PACKAGES = {"numpy": "numpy", "OpenCV": "opencv-python", "onnxruntime": "onnxruntime", "torch": "torch"}
ROOT = Path(__file__).parents[2]
HEAD = ("what", "value", "unit", "gate", "holds", "last", "median", "change")


class Figure(BaseModel):
    """One value, with the gate that says which direction is better."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """A plain sentence; figures of different runs are the same where name and unit are."""
    value: FiniteFloat
    unit: str
    at_least: FiniteFloat | None = None
    at_most: FiniteFloat | None = None
    compared: bool = True
    """Whether it is compared with earlier runs: not where it is a difference that lies about nought."""
    state: Literal["", "fell", "accepted"] = ""
    """In a history: `fell` where it was worse than before, `accepted` where that was taken as the new measure."""

    @model_validator(mode="after")
    def _one_gate(self) -> "Figure":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f'"{self.name}" needs one gate, at_least or at_most')
        return self

    @property
    def gate(self) -> float:
        """What the value is held against."""
        return self.at_least if self.at_least is not None else self.at_most or 0.0

    @property
    def holds(self) -> bool:
        """Whether the gate is kept."""
        return self.value >= self.gate if self.at_least is not None else self.value <= self.gate

    def worse_by(self, before: float) -> float:
        """How much worse it is than another value, as a share of that; below 0 where it is better."""
        worse = before - self.value if self.at_least is not None else self.value - before
        return 0.0 if worse == 0 else math.copysign(math.inf, worse) if before == 0 else worse / abs(before)


class Machine(BaseModel):
    """What figures of seconds and memory are compared on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: str
    cores: int


class Run(BaseModel):
    """One line of a history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: str
    """ISO 8601, UTC."""
    commit: str
    versions: dict[str, str]
    machine: Machine
    figures: tuple[Figure, ...] = ()


class Row(BaseModel):
    """A figure beside what was measured before on the same machine; None where nothing was."""

    model_config = ConfigDict(frozen=True)

    figure: Figure
    last: float | None = None
    median: float | None = None

    @property
    def worse_by(self) -> float:
        """Against the median, as a share of it."""
        return 0.0 if self.median is None else self.figure.worse_by(self.median)

    @property
    def fell(self) -> bool:
        """Whether it is so much worse that the run fails."""
        return self.figure.compared and self.worse_by > MOST_WORSE


def read_history(file: Path) -> tuple[list[Run], list[str]]:
    """The runs of a file, the oldest first, and a sentence for each line that is none; both empty where there is no file."""
    runs, broken = [], []
    lines = file.read_bytes().splitlines() if file.exists() else []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                runs.append(Run.model_validate_json(line))
            except ValidationError as error:
                reason = error.errors()[0]["msg"]
                broken.append(f"Line {number} of {file} is not a run and was passed over: {reason}")
    return runs, broken


def append_run(file: Path, run: Run) -> None:
    """Add a line; what was cut off in the middle of one stays a line of its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cut_off = file.exists() and file.read_bytes()[-1:] not in (b"", b"\n")
    with file.open("a", encoding="utf-8") as lines:
        lines.write(("\n" if cut_off else "") + run.model_dump_json(exclude_defaults=True) + "\n")


def compare(figures: Sequence[Figure], runs: Sequence[Run], machine: Machine) -> list[Row]:
    """Each figure beside its earlier values on this machine."""
    return [_row(figure, [run for run in runs if run.machine == machine]) for figure in figures]


def _row(figure: Figure, runs: Sequence[Run]) -> Row:
    """The median is of the last values since one that was accepted; what fell is no measure."""
    earlier = [each for run in runs for each in run.figures if (each.name, each.unit) == (figure.name, figure.unit)]
    if not earlier:
        return Row(figure=figure)
    values: list[float] = []
    for each in earlier:
        if each.state == "accepted":
            values.clear()
        if each.state != "fell":
            values.append(each.value)
    median = statistics.median(values[-LAST:]) if values else None
    return Row(figure=figure, last=earlier[-1].value, median=median)


def recorded(rows: Sequence[Row], accept: bool) -> tuple[Figure, ...]:
    """The figures as they go into the history."""
    state = "accepted" if accept else "fell"
    return tuple(row.figure.model_copy(update={"state": state if row.fell else ""}) for row in rows)


def this_run() -> Run:
    """The run that begins here, without figures."""
    versions = {"Python": platform.python_version()}
    for name, package in PACKAGES.items():
        try:
            versions[name] = version(package)
        except PackageNotFoundError:
            versions[name] = "none"
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Run(date=date, commit=_commit(), versions=versions, machine=Machine(cpu=_cpu(), cores=os.cpu_count() or 1))


def _commit() -> str:
    """The short hash, and whether files differ from it; `unknown` outside a checkout."""
    try:
        answers = [
            subprocess.run(("git", *each), cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for each in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{answers[0]}, changed" if answers[1] else answers[0]


def _cpu() -> str:
    """The model, as the system names it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def number(value: float | None) -> str:
    """Three digits, or all of a whole number; nothing for None."""
    if value is None:
        return ""
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def heading(run: Run) -> str:
    """When, of what and on what a run measured."""
    versions = ", ".join(f"{name} {each}" for name, each in run.versions.items())
    return f"{run.date}, commit {run.commit}; {versions}; {run.machine.cpu}, {run.machine.cores} cores"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The lines of a table in Markdown."""
    cells = [HEAD, *(tuple(_cells(row)) for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(HEAD))]
    for place, row in enumerate(cells):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        if place == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def _cells(row: Row) -> Iterator[str]:
    figure = row.figure
    yield figure.name.replace("|", "/")
    yield number(figure.value)
    yield figure.unit
    yield f"{'≥' if figure.at_least is not None else '≤'} {number(figure.gate)}"
    yield "yes" if figure.holds else "NO"
    yield number(row.last)
    yield number(row.median)
    yield change(row)


def change(row: Row) -> str:
    """How much better or worse than the median, in words; in capitals where the run fails by it."""
    if row.median is None or not row.figure.compared:
        return ""
    share = row.worse_by
    if abs(share) < 0.005:
        return "the same"
    words = "WORSE" if row.fell else "worse" if share > 0 else "better"
    return f"{abs(share):.0%} {words}" if math.isfinite(share) else words
