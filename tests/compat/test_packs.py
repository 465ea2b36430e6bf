"""A pack of styles is taken in, its styles are checked, published and given out again."""

import json
import zipfile
from pathlib import Path

import pytest

from tests.compat import terminal

STYLES = ["kept-light", "kept-picture", "kept-words"]


@pytest.fixture
def taken(new_home: Path, old_files: Path) -> Path:
    """A home with the styles of the pack as drafts."""
    brought = terminal.answer("styles", "import", old_files / "styles.zip")
    assert [each["id"] for each in brought["styles"]] == STYLES
    assert brought["left"] == []
    return new_home


@pytest.mark.usefixtures("taken")
def test_its_styles_say_what_they_said() -> None:
    light = terminal.answer("styles", "show", "kept-light")["style"]
    assert (light["backdrop"], light["titles"], light["refiners"]) == (
        "studio-rose",
        {"zh": "柔光"},
        [{"name": "skin", "strength": 0.3}],
    )
    words = terminal.answer("styles", "show", "kept-words")["style"]
    assert (words["families"], words["strengths"]) == (["sd15"], {"lora": 0.6})
    assert words["traits"]["hat"]["choices"] == ["with a straw hat"]


@pytest.mark.models
@pytest.mark.usefixtures("taken")
def test_its_styles_are_checked_and_published() -> None:
    checked = terminal.answer("styles", "check", *STYLES)
    assert checked["ok"]
    found = {each["style"]: [finding["code"] for finding in each["findings"]] for each in checked["styles"]}
    assert found == {"kept-light": [], "kept-picture": ["face_small"], "kept-words": []}
    assert [terminal.answer("styles", "publish", name)["version"] for name in STYLES] == [1, 1, 1]


@pytest.mark.usefixtures("taken")
def test_the_same_styles_are_given_out_again(old_files: Path, tmp_path: Path) -> None:
    terminal.answer("styles", "export", *STYLES, "-o", tmp_path / "again.zip")

    def inside(pack: Path) -> dict[str, str]:
        with zipfile.ZipFile(pack) as archive:
            manifest = json.loads(archive.read("pack.json"))
            assert (manifest["format"], manifest["schema"]) == ("portrait-styles", 1)
            return {name: told["sha256"] for name, told in manifest["files"].items()}

    assert inside(tmp_path / "again.zip") == inside(old_files / "styles.zip")
