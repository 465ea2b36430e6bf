"""Parameters of a drawing: the size at which a base generates, and strengths that do no step."""

import re

import pytest

from portrait.arrays import Size
from portrait.generation.parameters import native_size, no_step, steps_of


def test_a_size_has_the_area_of_the_base_and_its_multiples() -> None:
    assert native_size(Size(800, 1000), 1024, 8) == Size(912, 1144)
    assert native_size(Size(100, 4000), 512, 8) == Size(80, 680)


def test_a_side_in_the_middle_goes_where_the_caller_says() -> None:
    assert native_size(Size(100, 1024), 64, 8) == Size(16, 80)
    assert native_size(Size(100, 1024), 64, 8, lambda number: int(number + 0.5)) == Size(24, 80)


@pytest.mark.parametrize("steps", [1, 3, 6, 7, 25, 29, 40, 150])
@pytest.mark.parametrize("strength", [0.005, 0.05, 0.1, 0.16])
def test_the_least_strength_and_steps_that_are_told_do_one_step(steps: int, strength: float) -> None:
    if steps_of(steps, strength):
        return
    told = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", no_step(steps, strength))]
    assert told[:2] == [steps, strength]
    least, needed = told[2], int(told[3])
    assert steps_of(steps, least) >= 1
    assert not steps_of(steps, least - 0.011)
    assert steps_of(needed, strength) >= 1
    assert not steps_of(needed - 1, strength)
