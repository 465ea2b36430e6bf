"""Every kind of portrait is made again from its recipe, with the same pixels."""

from pathlib import Path

import pytest

from tests.compat import terminal
from tests.compat.comparing import assert_same_pixels, recipe_of

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("new_home")]


def assert_remade(file: Path, tmp_path: Path) -> None:
    """It has the same pixels and says the same of itself."""
    again = tmp_path / f"again{file.suffix}"
    made = terminal.answer("remake", file, "-o", again)["portraits"][0]
    assert_same_pixels(file, again)
    told, before = made["recipe"], recipe_of(file)
    for each in (told, before):
        drawn = each.setdefault("drawn", {})
        drawn.pop("packages", None)
        # Where the eyes are was not measured then.
        drawn.pop("eyes", None)
        # How bright the same face is was measured a little otherwise.
        drawn["rules"] = [rule for rule in drawn.get("rules", ()) if rule["rule"] != "light"]
    assert told == before
    assert recipe_of(again)["people"] == before["people"]


@pytest.mark.parametrize(
    "name",
    ["studio-office-1.png", "astronaut-1.jpg", "pair-1.webp", "idphoto-passport-1.jpg"],
    ids=["in a studio", "in a picture of a style", "two people in an own picture", "as an ID photo"],
)
def test_a_portrait_without_a_base_is_made_again(old_files: Path, tmp_path: Path, name: str) -> None:
    assert_remade(old_files / "portraits" / name, tmp_path)


@pytest.mark.networks
@pytest.mark.parametrize(
    "name",
    [
        "portraits/text-film-1.png",
        "portraits/text-film-1-repaint-1.png",
        "portraits/text-film-1-extend-1.png",
        "portraits/astronaut-1.png",
        "portraits-token/text-noir-1.png",
    ],
    ids=[
        "of words",
        "repainted",
        "extended",
        "drawn into a picture",
        "by a token, on a base that was named by its place",
    ],
)
def test_a_portrait_on_a_base_is_made_again(old_files: Path, tmp_path: Path, name: str) -> None:
    assert_remade(old_files / name, tmp_path)


def test_a_set_that_moved_is_named(old_files: Path, tmp_path: Path) -> None:
    file = tmp_path / "studio.jpg"
    file.write_bytes((old_files / "portraits" / "astronaut-1.jpg").read_bytes())
    assert terminal.refusal("remake", file) == "source_missing"
    terminal.answer("remake", file, "--set", old_files / "set", "-o", tmp_path / "again.jpg")
    assert_same_pixels(file, tmp_path / "again.jpg")
