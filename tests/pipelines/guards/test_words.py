"""The word guard with settings: on and off, and the list of names as a file that may change."""

import os
from pathlib import Path

import pytest

from pipelines.guards import words
from pipelines.settings import GuardSettings
from portrait.errors import OperatorError, UserError


def test_the_guard_is_on_unless_it_is_turned_off() -> None:
    with pytest.raises(UserError) as refused:
        words.check(GuardSettings(), ["", "a nude"])
    assert refused.value.code == "words_refused"
    words.check(GuardSettings(words=False), ["a nude"])
    words.check(GuardSettings(), ["a hat"])


def test_names_are_read_again_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("\ufeffJane Doe\n", "utf-8")
    settings = GuardSettings(names=file)
    with pytest.raises(UserError):
        words.check(settings, ["jane doe"])
    file.write_text("李小明\n", "utf-8")
    os.utime(file, ns=(1, 1))
    words.check(settings, ["jane doe"])
    with pytest.raises(UserError):
        words.check(settings, ["像李小明"])


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_list_that_cannot_be_read_is_the_operators_to_mend(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "names.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OperatorError, match=r"guards\.names") as raised:
        words.check(GuardSettings(names=file), ["a hat"])
    assert raised.value.code == "bad_settings"


def test_what_people_wrote_into_an_order_is_looked_at_and_nothing_else() -> None:
    params = {
        "technique": {"traits": "curly hair", "base": "sdxl", "strengths": {"lora": 1}},
        "traits": {"age": "young", "hair": "red"},
        "edit": {"kind": "change", "words": "with a hat", "shape": None},
        "style": "nude-studio",
    }
    assert words.texts_of(params) == ["young", "red", "curly hair", "with a hat"]
    assert words.texts_of({"technique": None, "edit": None}) == []
