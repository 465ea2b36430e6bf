from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import build
from pipelines.engines import Engines
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import UserError
from tasks.styles.sample_people import SAMPLE_PEOPLE, make_identity
from templates import package_pictures


def quiet(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    """Nobody listens."""


def test_a_missing_photo_is_an_error_that_names_the_package(
    tmp_path: Path, settings: Settings, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = replace(SAMPLE_PEOPLE[0], package="no_such_package")
    monkeypatch.setitem(package_pictures.SHA256, (missing.package, missing.path), "0" * 64)
    with pytest.raises(UserError, match=r"astronaut is missing.*no_such_package.*is not installed") as caught:
        make_identity(missing, build.prepare(settings, engines), tmp_path, quiet)
    assert caught.value.code == "not_found"


def test_a_person_is_cut_out_of_a_group(tmp_path: Path, settings: Settings, engines: Engines) -> None:
    found = make_identity(SAMPLE_PEOPLE[1], build.prepare(settings, engines), tmp_path, quiet)
    assert found.id == "third player"
    assert len(found.references) == 1
    assert max(found.references[0].image.shape[:2]) <= 460
