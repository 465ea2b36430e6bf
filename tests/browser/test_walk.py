"""The whole story, from consent to erasure, in forms of browser that have every pair of width, theme, language and hands."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser import walk
from tests.browser.conftest import Installation


@pytest.mark.parametrize("form", walk.PAIRWISE, ids=str)
def test_the_whole_story(
    installation: Installation, chromium: Browser, photos: list[Path], shots: Path, form: walk.Form
) -> None:
    with walk.open_walk(installation, chromium, form, shots) as walked:
        walked.all(photos, installation.app)


@pytest.mark.bench
@pytest.mark.parametrize("form", [each for each in walk.ALL if each not in walk.PAIRWISE], ids=str)
def test_the_whole_story_in_every_other_form(
    installation: Installation, chromium: Browser, photos: list[Path], shots: Path, form: walk.Form
) -> None:
    with walk.open_walk(installation, chromium, form, shots) as walked:
        walked.all(photos, installation.app)


def test_every_pair_is_walked() -> None:
    def pairs(forms: list[walk.Form]) -> set[tuple[str, object, str, object]]:
        names = ("width", "theme", "language", "hands")
        every = [(one, other) for at, one in enumerate(names) for other in names[at + 1 :]]
        return {(one, getattr(form, one), other, getattr(form, other)) for form in forms for one, other in every}

    assert pairs(walk.PAIRWISE) == pairs(walk.ALL)
