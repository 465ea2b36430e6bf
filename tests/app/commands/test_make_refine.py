from pathlib import Path

import pytest

from app.commands.make import parse_refiners
from portrait.errors import OperatorError, UserError
from portrait.types import Refinement
from templates.catalog import BUILTIN
from templates.schema import read_style
from templates.style import to_style


def test_steps_are_named_with_a_strength_and_enlarging_comes_last() -> None:
    assert parse_refiners(["skin=0.5", "tone"], 1) == [("skin", 0.5), ("tone", 1.0)]
    assert parse_refiners(["skin=0"], 4) == [("skin", 0.0), ("upscale4", 1.0)]
    assert parse_refiners([], 1) == []


@pytest.mark.parametrize(
    ("given", "upscale"),
    [
        (["skin=2"], 1),
        (["skin=nan"], 1),
        (["skin=a"], 1),
        (["=1"], 1),
        (["../x=1"], 1),
        (["skin", "skin=1"], 1),
        ([], 3),
    ],
)
def test_what_is_no_step_is_refused(given: list[str], upscale: int) -> None:
    with pytest.raises(UserError) as caught:
        parse_refiners(given, upscale)
    assert caught.value.code == "bad_refiner"


def test_a_style_names_its_steps(tmp_path: Path) -> None:
    text = (BUILTIN / "studio-grey" / "style.toml").read_text("utf-8")
    file = tmp_path / "style.toml"
    file.write_text(f'refiners = [{{ name = "skin", strength = 0.5 }}, {{ name = "upscale2" }}]\n{text}', "utf-8")
    assert to_style(read_style(file)).refiners == (Refinement("skin", 0.5), Refinement("upscale2", 1.0))
    file.write_text(f'refiners = [{{ name = "skin", strength = 1.5 }}]\n{text}', "utf-8")
    with pytest.raises(OperatorError, match=r"refiners\.0\.strength") as caught:
        read_style(file)
    assert caught.value.code == "bad_style"
