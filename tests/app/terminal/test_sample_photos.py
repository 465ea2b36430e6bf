"""The examples of good and bad photos that the app shows are those that are made here, and are what they are said to be."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from app.components.examples import GOOD, POOR
from app.terminal import sample_photos

STORED = Path(sample_photos.__file__).parent.parent / "server" / "examples"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {path.stem: path for path in sample_photos.write_examples(tmp_path_factory.mktemp("examples"))}


def test_the_examples_that_are_shown_are_those_that_are_made(made: dict[str, Path]) -> None:
    assert made.keys() == {*GOOD, *POOR} == {path.stem for path in STORED.iterdir()}
    for name, path in made.items():
        one, other = (np.asarray(cv2.imread(str(each)), int) for each in (path, STORED / path.name))
        assert np.abs(one - other).mean() < 2, name


def test_all_examples_together_are_light() -> None:
    assert sum(path.stat().st_size for path in STORED.iterdir()) < 150_000
