"""Whoever may not read a file is told so: nobody's photo, set or identity is called broken for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import image_io
from pipelines.folders import identities, training_sets
from portrait.errors import OperatorError, PortraitError, UserError
from portrait.photos.reasons import TIPS
from tests import fakes
from tests.foreign_files import forbid_reading


@pytest.mark.parametrize("read", [image_io.read, image_io.probe, image_io.read_mask])
def test_a_photo_of_another_user_is_not_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], Any]
) -> None:
    photo = fakes.save(tmp_path / "a.png", fakes.picture(1, 1))
    read(photo)
    forbid_reading(monkeypatch, tmp_path)
    with pytest.raises(UserError) as caught:
        read(photo)
    assert (caught.value.code, caught.value.message) == ("no_permission", TIPS["no_permission"])


@pytest.mark.parametrize(
    ("read", "file", "broken"),
    [
        (training_sets.read, training_sets.DESCRIPTION_FILE, "broken_set"),
        (identities.read, identities.DESCRIPTION_FILE, "broken_identity"),
    ],
)
def test_a_folder_of_another_user_is_not_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], Any], file: str, broken: str
) -> None:
    (tmp_path / file).write_text("{}")
    with pytest.raises(PortraitError) as caught:
        read(tmp_path)
    assert caught.value.code == broken
    forbid_reading(monkeypatch, tmp_path)
    with pytest.raises(OperatorError, match="another user") as refused:
        read(tmp_path)
    assert refused.value.code == "no_permission"
