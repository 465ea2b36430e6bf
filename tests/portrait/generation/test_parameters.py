"""The size at which a base generates, where a side falls in the middle of two multiples."""

from portrait.arrays import Size
from portrait.generation.parameters import native_size


def test_a_size_has_the_area_of_the_base_and_its_multiples() -> None:
    assert native_size(Size(800, 1000), 1024, 8) == Size(912, 1144)
    assert native_size(Size(100, 4000), 512, 8) == Size(80, 680)


def test_a_side_in_the_middle_goes_where_the_caller_says() -> None:
    assert native_size(Size(100, 1024), 64, 8) == Size(16, 80)
    assert native_size(Size(100, 1024), 64, 8, lambda number: int(number + 0.5)) == Size(24, 80)
