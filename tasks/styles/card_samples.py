"""Sample people in the styles of an installation, drawn once by a worker that has nothing else to do."""

import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from portrait.errors import Cancelled, PortraitError
from portrait.faces.likeness import likeness_step
from portrait.ports import Progress
from portrait.types import Identity, Style
from tasks.files import Files
from tasks.styles.available import AvailableStyles, shows_samples
from tasks.styles.samples import Sample, StyleTester
from templates.catalog import Entry

KINDS = ("studio", "template")
"""Kinds that are drawn: an ID photo looks the same of everybody, and nobody asked for what a diffusion model takes."""
TRIED = "tried.txt"
"""A file beside the samples, as an object storage knows no empty folders."""
ALIKE = 0
"""The step of likeness (`portrait.faces.likeness`) up to which a sample is shown."""


class CardSamples:
    """Draws the samples of one style after another; the sample people are made once, and dropped when all have been drawn."""

    def __init__(self, tester: StyleTester, load: Callable[[Entry], Style]) -> None:
        """`load` gives a style with its picture attached."""
        self._tester, self._load = tester, load
        self._people: tuple[dict[str, Identity], dict[str, str]] | None = None

    def draw_next(self, styles: AvailableStyles, files: Files, able: Collection[str], progress: Progress) -> bool:
        """Draw one style that has no samples yet and that a worker with these abilities can draw; False where there is none.

        What `progress` cancels leaves nothing, and is drawn later.
        """
        entry = next((each for each in styles.entries() if _is_due(each, files, able)), None)
        if entry is None:
            self._people = None
            return False
        files.styles.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".samples.", dir=files.styles, ignore_cleanup_errors=True) as folder:
            drawn, chosen = Path(folder) / "drawn", Path(folder) / "chosen"
            chosen.mkdir()
            samples = self._draw(entry, drawn, progress)
            for number, sample in enumerate((each for each in samples if _is_good(each)), 1):
                (drawn / f"{sample.number}.jpg").rename(chosen / f"{number}.jpg")
            # A folder without pictures says that it was tried: a style that cannot be drawn is not tried again and again.
            (chosen / TRIED).write_text(f"{len(samples)} drawn\n", "utf-8")
            files.publish(chosen, files.style_samples(entry.style.id, entry.style.version))
        return True

    def _draw(self, entry: Entry, folder: Path, progress: Progress) -> list[Sample]:
        """Draw the sample people in a style; nothing where it cannot be drawn here."""
        if self._people is None:
            self._people = self._tester.sample_people(progress)
        try:
            return self._tester.render_samples(self._load(entry), folder, progress, self._people)
        except Cancelled:
            raise
        except PortraitError:
            return []


def _is_due(entry: Entry, files: Files, able: Collection[str]) -> bool:
    style = entry.style
    return (
        style.kind in KINDS
        and shows_samples(entry)
        and f"draw:{style.kind}" in able
        and files.samples(style.id, style.version) is None
    )


def _is_good(sample: Sample) -> bool:
    """Whether a sample shows the style well: it was drawn, and the person is to be recognised."""
    if sample.portrait is None:
        return False
    return all(likeness_step(each.space, each.distance) <= ALIKE for each in sample.portrait.likeness.values())
