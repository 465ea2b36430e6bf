"""How strongly each pass draws, and what it follows."""

import math

import pytest

from portrait.errors import UserError
from portrait.generation.passes import Passes, check_strengths, control_scales, with_strengths


def test_options_may_change_the_strength_of_each_pass_and_control() -> None:
    changed = with_strengths(Passes(controls={"tile": 0.5}), {"face": 0.6, "ring": 0, "canny": 0.8, "lora": 0.9})
    assert (changed.face, changed.ring, changed.seam) == (0.6, 0, Passes().seam)
    assert changed.controls == {"tile": 0.5, "canny": 0.8}


def test_controls_depend_on_pass_and_family() -> None:
    assert control_scales(Passes(), "face", "sd15") == {"canny": 0.5, "pose": 0.5, "color": 0.85}
    assert control_scales(Passes(), "face", "sdxl") == {"canny": 0.5}
    assert control_scales(Passes(), "ring", "sdxl") == {"canny": 1.0, "tile": 1.0}
    assert control_scales(Passes(), "face", "a family to come") == {}


def test_a_control_can_be_weakened_or_left_out() -> None:
    assert control_scales(Passes(controls={"canny": 0.5, "tile": 0.0}), "ring", "sd15") == {"canny": 0.5}


@pytest.mark.parametrize("strengths", [{"face": 1.5}, {"seam": -0.1}, {"tile": 2.0}])
def test_a_strength_above_one_is_refused(strengths: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(strengths))) as caught:
        with_strengths(Passes(), strengths)
    assert caught.value.code == "bad_technique"


@pytest.mark.parametrize(
    "strengths", [{"lora": 2.5}, {"lroa": 0.5}, {"face": 1.5}, {"photomaker": -0.1}, {"tile": math.nan}]
)
def test_a_strength_out_of_its_range_or_of_no_such_name_is_refused(strengths: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(strengths))) as caught:
        check_strengths(strengths)
    assert caught.value.code == "bad_technique"
    check_strengths({"lora": 2.0, "identitynet": 0.0, "seam": 1.0})
