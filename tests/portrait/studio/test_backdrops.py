import numpy as np
import pytest

from portrait.arrays import Size
from portrait.studio.backdrops import LIGHTS, NAMES, exists, light_of, paint


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


@pytest.mark.parametrize("colour", ["#dfe4ea", "#7a1f2b", "#102a1c", "#808080", "#ffffff", "#000000"])
def test_paper_in_a_colour_has_that_colour_behind_the_person(colour: str) -> None:
    levels = paint(colour, Size(320, 400), 1)
    middle = levels[140:200, 120:200].reshape(-1, 3).mean(axis=0)
    assert np.abs(middle - [int(colour[at : at + 2], 16) for at in (1, 3, 5)]).max() < 14
    assert not np.array_equal(levels, paint(colour, Size(320, 400), 2))
    assert light_of(colour).colour == (1.0, 1.0, 1.0)


def test_a_backdrop_exists_by_its_name_or_as_a_colour() -> None:
    assert exists("studio-grey")
    assert exists("#a0b1c2")
    for name in ("studio-gone", "#a0b1c", "#A0B1C2", "a0b1c2", ""):
        assert not exists(name)
        with pytest.raises(KeyError):
            paint(name, Size(64, 64), 1)
