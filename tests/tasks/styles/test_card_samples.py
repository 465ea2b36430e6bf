"""Samples of several people: each style once, nothing of what is stopped, nothing that does not look like its person."""

from pathlib import Path
from typing import cast

import pytest

from portrait.errors import Cancelled, UserError
from portrait.ports import Progress
from portrait.types import Identity, Likeness, Portrait, Style
from tasks.files import Files
from tasks.styles.available import AvailableStyles
from tasks.styles.card_samples import CardSamples
from tasks.styles.samples import Sample, StyleTester
from templates.catalog import Catalog
from templates.style import to_style
from tests import fakes

ABLE = {"draw:studio"}


class FakeTester:
    """Draws nothing: writes files, and counts."""

    def __init__(self, distances: tuple[float, ...] = (0.1, 0.6, 0.2)) -> None:
        self.distances, self.drawn, self.made = distances, [], 0

    def sample_people(self, progress: Progress) -> tuple[dict[str, Identity], dict[str, str]]:
        self.made += 1
        return {}, {}

    def render_samples(self, style: Style, folder: Path, progress: Progress, known: object) -> list[Sample]:
        self.drawn.append(style.id)
        progress(0, 1, "Drawing")
        folder.mkdir(parents=True)
        for number in range(1, len(self.distances) + 1):
            (folder / f"{number}.jpg").write_text(str(number))
        return [
            Sample(number, "somebody", far, portrait=_portrait(far)) for number, far in enumerate(self.distances, 1)
        ]


def _portrait(far: float) -> Portrait:
    return Portrait(fakes.picture(1, 1), None, {}, {1: Likeness("dlib", far)}, {}, {})


def quiet(done: int, total: int, doing: str, preview: object = None) -> None:
    """Nobody listens."""


def stopping(done: int, total: int, doing: str, preview: object = None) -> None:
    """A job has come."""
    raise Cancelled


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def _card_samples(tester: FakeTester) -> CardSamples:
    return CardSamples(cast("StyleTester", tester), lambda entry: to_style(entry.style))


def test_each_style_that_can_be_drawn_is_drawn_once(files: Files) -> None:
    tester = FakeTester()
    drawing, styles = _card_samples(tester), AvailableStyles(None, files)
    while drawing.draw_next(styles, files, ABLE, quiet):
        pass
    studios = [entry.style for entry in Catalog().entries() if entry.style.kind == "studio"]
    assert tester.drawn == [style.id for style in studios]
    assert tester.made == 1, "the people are made once"
    folder = files.style_samples(studios[0].id, studios[0].version)
    assert {path.name: path.read_text() for path in folder.glob("*.jpg")} == {"1.jpg": "1", "2.jpg": "3"}, (
        "0.6 is nobody"
    )
    assert not _card_samples(tester).draw_next(styles, files, ABLE, quiet)


def test_what_is_stopped_leaves_nothing_and_is_drawn_later(files: Files) -> None:
    drawing, styles = _card_samples(FakeTester()), AvailableStyles(None, files)
    with pytest.raises(Cancelled):
        drawing.draw_next(styles, files, ABLE, stopping)
    assert [path for path in files.root.rglob("*") if path.is_file()] == []
    assert drawing.draw_next(styles, files, ABLE, quiet)
    assert list(files.styles.glob(".samples.*")) == []


def test_a_style_that_cannot_be_drawn_is_not_tried_again(files: Files) -> None:
    class Failing(FakeTester):
        def render_samples(self, style: Style, folder: Path, progress: Progress, known: object) -> list[Sample]:
            self.drawn.append(style.id)
            raise UserError("no_shoulders", "None.")

    tester, styles = Failing(), AvailableStyles(None, files)
    drawing = _card_samples(tester)
    assert drawing.draw_next(styles, files, ABLE, quiet)
    assert drawing.draw_next(styles, files, ABLE, quiet)
    assert len(set(tester.drawn)) == 2
