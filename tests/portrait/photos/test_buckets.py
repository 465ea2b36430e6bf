import pytest

from portrait.arrays import Size
from portrait.photos.buckets import long_side, nearest_bucket


@pytest.mark.parametrize(
    ("sides", "side"), [([600] * 3, 512), ([800, 800, 300], 768), ([2000] * 4, 1024), ([100], 512), ([], 512)]
)
def test_long_side_is_reached_by_half_of_the_crops(sides: list[int], side: int) -> None:
    assert long_side([Size(each, each // 2) for each in sides]) == side


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (100, 100, Size(1024, 1024)),
        (3, 4, Size(768, 1024)),
        (4, 3, Size(1024, 768)),
        (1, 9, Size(512, 1024)),
        (9, 1, Size(1024, 512)),
    ],
)
def test_nearest_shape_in_steps_of_64(width: float, height: float, size: Size) -> None:
    assert nearest_bucket(width, height, 1024) == size


@pytest.mark.parametrize("side", [512, 768, 1024])
def test_sides_are_multiples_of_64_and_reach_the_long_side(side: int) -> None:
    for ratio in (0.4, 0.71, 0.93, 1.1, 1.7):
        size = nearest_bucket(ratio, 1, side)
        assert size.width % 64 == size.height % 64 == 0
        assert max(size.width, size.height) == side
