"""Pictures of a set are decoded when they are looked at, and each once."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines import image_io
from pipelines.folders.stored_pictures import stored_crop, stored_reference
from portrait.errors import UserError
from portrait.photos.quality import judge
from portrait.photos.reasons import Thresholds
from portrait.types import Crop, Reference, Selfie
from tests import fakes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 6, 3), 90, np.uint8))
    return tmp_path / "a.png"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that were decoded."""
    names: list[str] = []
    decode = image_io.decode

    def noted(content: bytes, name: str) -> Selfie:
        names.append(name)
        return decode(content, name)

    monkeypatch.setattr(image_io, "decode", noted)
    return names


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def reference(file: Path) -> Reference:
    whole = np.zeros((200, 200, 3), np.uint8)
    face = fakes.face(whole)
    quality = judge(whole, face, 1, Thresholds())
    return stored_reference(file, name="a.jpg", face=face, quality=quality, selfie="s", enlarged=2.0)


def test_a_picture_is_decoded_once_and_when_it_is_looked_at(file: Path, decoded: list[str]) -> None:
    stored = reference(file)
    assert (stored.name, stored.selfie, stored.enlarged, stored.face.confidence > 0) == ("a.jpg", "s", 2.0, True)
    assert decoded == []
    assert stored.image.shape == (8, 6, 3)
    assert stored.image is stored.image
    assert decoded == ["a.png"]


def test_another_picture_or_name_makes_another_reference(file: Path, decoded: list[str]) -> None:
    stored, other = reference(file), np.ones((3, 3, 3), np.uint8)
    assert replace(reference(file), name="b.jpg").image.shape == (8, 6, 3)
    assert replace(stored, image=other).image is other
    assert decoded == ["a.png"]


def test_a_crop_has_the_picture_before_it_where_there_is_one(file: Path, decoded: list[str]) -> None:
    plain = stored_crop(file, None, caption="a photo", source="a.jpg")
    restored = stored_crop(file, file, caption="a photo", source="a.jpg")
    assert plain.before is None
    assert decoded == []
    assert isinstance(restored, Crop)
    assert restored.before is not None
    assert decoded == ["a.png"]
    assert (restored.image == restored.before).all()


def test_what_was_there_can_be_looked_at_when_its_folder_is_gone(file: Path) -> None:
    stored = reference(file)
    file.unlink()
    assert stored.image.shape == (8, 6, 3)
    with pytest.raises(FileNotFoundError):
        reference(file)


def test_a_broken_picture_is_refused(file: Path) -> None:
    file.write_bytes(b"no picture")
    stored = reference(file)
    with pytest.raises(UserError) as broken:
        _ = stored.image
    assert broken.value.code == "broken_set"
    with pytest.raises(AttributeError):
        _ = stored.nothing  # pyrefly: ignore[missing-attribute] -- a name that is no field


def test_no_file_stays_open(file: Path) -> None:
    before = open_files()
    stored = [reference(file) for _ in range(5)]
    assert open_files() == before + 5
    assert all(each.image.any() for each in stored[:3])
    assert open_files() == before + 2
    del stored
    assert open_files() == before
