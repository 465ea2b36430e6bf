import numpy as np

from pipelines.engines.controls.canny import Canny
from pipelines.engines.controls.tile import Tile
from portrait.arrays import Image


def square() -> Image:
    image = np.zeros((96, 64, 3), np.uint8)
    image[32:64, 16:48] = (200, 100, 50)
    return image


def test_outlines_stand_where_the_picture_has_them() -> None:
    drawn = Canny().process(square())
    assert drawn.shape == (96, 64, 3)
    assert set(np.unique(drawn)) == {0, 255}
    assert not drawn[40:56, 24:40].any()
    assert drawn[30:34, 24:40].any()
    assert drawn[62:66, 24:40].any()


def test_content_keeps_its_colours_and_loses_its_grain() -> None:
    noise = np.random.default_rng(0).integers(-40, 40, (96, 64, 3))
    grainy = np.clip(square().astype(int) + noise, 0, 255).astype(np.uint8)
    drawn = Tile().process(grainy)
    assert drawn.shape == grainy.shape
    assert np.abs(drawn[44:52, 28:36].mean((0, 1)) - (200, 100, 50)).max() < 15
    assert drawn[44:52, 28:36].std() < grainy[44:52, 28:36].std()
