from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import build, sample_people
from pipelines.engines import Engines
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import UserError


def quiet(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    """Nobody listens."""


def test_the_photos_lie_in_installed_packages() -> None:
    assert all(sample_people.place(each) is not None for each in sample_people.SAMPLE_PEOPLE)
    assert sample_people.place(replace(sample_people.SAMPLE_PEOPLE[0], path="data/nobody.png")) is None
    assert sample_people.place(replace(sample_people.SAMPLE_PEOPLE[0], package="no_such_package")) is None


def test_a_photo_that_is_absent_is_told(tmp_path: Path, settings: Settings, engines: Engines) -> None:
    gone = replace(sample_people.SAMPLE_PEOPLE[0], package="no_such_package")
    with pytest.raises(UserError, match="no_such_package is not installed"):
        sample_people.make_identity(gone, build.prepare(settings, engines), tmp_path, quiet)


def test_a_person_is_cut_out_of_a_group(tmp_path: Path, settings: Settings, engines: Engines) -> None:
    found = sample_people.make_identity(
        sample_people.SAMPLE_PEOPLE[1], build.prepare(settings, engines), tmp_path, quiet
    )
    assert found.id == "third player"
    assert len(found.references) == 1
    assert max(found.references[0].image.shape[:2]) <= 460
