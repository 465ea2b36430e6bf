"""What the page says of files that were refused, and what the component is told."""

import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from app.components import photo_picker
from app.words import translation
from pipelines import image_io
from tasks.api.images import FORMATS

FOLDER = Path(photo_picker.__file__).parent / "picker"
SCRIPTS = {path.stem: path.read_text() for path in FOLDER.glob("*.js")}


@pytest.fixture(params=sorted(translation.LANGUAGES), autouse=True)
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    with patch("app.session.language", lambda: request.param):
        yield request.param


def test_every_code_has_a_sentence_of_its_own(language: str) -> None:
    told = photo_picker.refusals()
    general = translation.translate(language, "picker.refused")
    assert [code for code, text in told.items() if text == general] == []
    assert {"unreadable", "too_large", "not_a_photo", "known", "offline", "quota_photos", "storage_full"} <= told.keys()


def test_codes_of_the_browsers_side_are_among_them() -> None:
    own = set(re.findall(r'(?:code: |return |\|\| |\? |: )"([a-z_]+)"', SCRIPTS["sending"])) - {"none"}
    assert {"offline", "not_a_photo", "unreadable", "too_large", "unauthenticated", "bad_answer", "known"} <= own
    assert own - photo_picker.refusals().keys() == set()


def test_the_component_has_every_word_that_it_shows(language: str) -> None:
    shown = set(re.findall(r"words\.([a-z_]+)", SCRIPTS["picker"]))
    camera = set(re.findall(r'"(insecure|none|denied|taken)"', SCRIPTS["camera"]))
    words = photo_picker._texts(language, "selfies")["words"]
    assert shown | {f"camera_{each}" for each in camera} == words.keys()
    assert "80" in words["note"]


def test_sizes_and_kinds_are_those_that_the_task_api_takes() -> None:
    assert photo_picker.MOST_BYTES == image_io.MAX_BYTES
    assert {each.lower() for each in FORMATS} <= set(photo_picker.KINDS)
