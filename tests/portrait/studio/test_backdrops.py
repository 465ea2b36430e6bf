import numpy as np
import pytest

from portrait.arrays import Size
from portrait.studio.backdrops import LIGHTS, NAMES, paint


@pytest.mark.parametrize("name", NAMES)
def test_a_backdrop_is_the_same_again_and_another_with_another_seed(name: str) -> None:
    first = paint(name, Size(160, 200), 3)
    assert first.shape == (200, 160, 3)
    assert np.array_equal(first, paint(name, Size(160, 200), 3))
    assert not np.array_equal(first, paint(name, Size(160, 200), 4))


@pytest.mark.parametrize("name", NAMES)
def test_a_backdrop_is_neither_black_nor_burnt_out(name: str) -> None:
    levels = paint(name, Size(320, 400), 1)
    assert (levels > 252).mean() < 0.05
    assert 8 < levels.mean() < 250


def test_places_have_light_of_their_own_colour() -> None:
    def middle(name: str) -> np.ndarray:
        return paint(name, Size(160, 200), 1)[60:140, 40:120].reshape(-1, 3).mean(axis=0)

    assert middle("studio-blue")[2] > middle("studio-blue")[0] + 20
    assert middle("studio-bricks")[0] > middle("studio-bricks")[2] + 20
    assert middle("studio-sage")[1] > max(middle("studio-sage")[0], middle("studio-sage")[2])
    assert LIGHTS["studio-seaside"].side > 0


@pytest.mark.parametrize("size", [Size(96, 400), Size(600, 200), Size(20, 20)])
def test_any_shape_can_be_painted(size: Size) -> None:
    for name in ("studio-city", "studio-seaside", "studio-library", "studio-bricks"):
        assert paint(name, size, 1).shape == (size.height, size.width, 3)
