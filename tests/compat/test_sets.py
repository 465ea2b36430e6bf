"""A training set is read and drawn from."""

import json
from pathlib import Path

import pytest

from tests.compat import terminal
from tests.compat.comparing import assert_same_pixels, missing, recipe_of, stored

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("new_home")]


def test_a_portrait_is_drawn_from_the_set_as_it_was(old_files: Path, tmp_path: Path) -> None:
    made = terminal.answer(
        *("make", old_files / "set", "-o", tmp_path, "--style", "astronaut", "--size", "192x192", "--seed", "12"),
        *("--skin", "template"),
    )
    before = old_files / "portraits" / "astronaut-1.jpg"
    assert_same_pixels(before, Path(made["portraits"][0]["file"]))
    recipe = made["portraits"][0]["recipe"]
    assert {name: recipe[name] for name in recipe_of(before)} == recipe_of(before)
    told = json.loads((tmp_path / "portraits.json").read_text("utf-8"))
    assert told[made["portraits"][0]["recipe"]["people"]["1"]] == str(old_files / "set")


def test_an_id_photo_is_made_from_the_set_as_it_was(
    old_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_ENGINES__MATTES", "selfie")
    made = terminal.answer("idphoto", old_files / "set", "-o", tmp_path, "--preset", "icao")["idphotos"]
    before = stored("idphotos/idphotos.json")["idphotos"]
    assert made[0]["preset"] == before[0]["preset"]
    assert {each["rule"] for each in before[0]["rules"]} <= {each["rule"] for each in made[0]["rules"]}
    assert missing(sorted(before[0]), sorted(made[0])) == []
    assert_same_pixels(old_files / "idphotos" / "icao.jpg", tmp_path / "icao.jpg")
