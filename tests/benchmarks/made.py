"""What the measurements share: people to judge, photos in a folder judged as the flow judges them, tables, processes."""

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from pipelines.judging import PhotoJudge
from pipelines.prepare import Prepare
from portrait.arrays import Image
from portrait.types import Face, ScoredPhoto
from tests import selfies

Fault: TypeAlias = Callable[[Image, Face, float, int], Image]
"""Photo, its face, how grave, seed → the photo with the fault."""

FACING = ("astronaut", "player 3", "player 4")
"""People who face the camera with open eyes and without another fault: a fault is added to these."""
SEEDS = 5
"""Photos made of each person at each severity."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A person to make selfies of: the photo and its face."""

    image: Image
    face: Face

    def selfie(self, seed: int, fault: Fault | None = None, severity: float = 0.0) -> bytes:
        """One more photo of this person, with a fault, as a file."""
        image, face = selfies.varied(self.image, self.face, seed)
        return selfies.stored(image if fault is None else fault(image, face, severity, seed), seed)


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges pictures from files, one by one, as `Prepare` does before it compares them."""

    flow: Prepare
    folder: Path

    def photos(self, contents: Iterable[bytes]) -> list[ScoredPhoto]:
        """What the flow says about each file."""
        paths = []
        for number, content in enumerate(contents):
            paths.append(self.folder / f"{number}.jpg")
            paths[-1].write_bytes(content)
        return PhotoJudge(self.flow.finder, self.flow.thresholds).judge_files(paths, quiet)

    def codes(self, contents: Iterable[bytes]) -> list[set[str]]:
        """The codes of each file."""
        return [{reason.code for reason in photo.reasons} for photo in self.photos(contents)]


@dataclass(slots=True)
class Tables:
    """Markdown tables in the order they were measured."""

    parts: list[str] = field(default_factory=list)

    def add(self, title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """One more table."""
        lines = [f"**{title}**", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        self.parts.append("\n".join(lines) + "\n")

    def text(self) -> str:
        """All of them."""
        return "\n".join(self.parts)


def quiet(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    """A progress that nobody listens to."""


def percent(hits: Sequence[bool]) -> str:
    """A rate; `–` where nothing was measured."""
    return f"{100 * np.mean(hits):.0f} %" if len(hits) else "–"


def table_of(module: str, *arguments: str) -> list[list[str]]:
    """Cells of the table that a module of this folder prints, without its head, whatever its exit status.

    For peaks of memory: what `getrusage` tells of a process includes what the one that started it took before, so that the
    processes which are measured are started by a small one and not by pytest.
    """
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in answer.stdout.splitlines() if line.startswith("|")][2:]
    assert lines, answer.stdout + answer.stderr
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
