import numpy as np

from pipelines.engines.controls.color import ColorGrid
from portrait.arrays import Image


def halves(height: int, width: int) -> Image:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = (200, 40, 10), (10, 60, 220)
    return image


def test_each_cell_has_one_colour_that_is_the_mean_of_what_it_covers() -> None:
    noise = np.random.default_rng(0).integers(-40, 40, (512, 384, 3))
    grainy = np.clip(halves(512, 384).astype(int) + noise, 0, 255).astype(np.uint8)
    drawn = ColorGrid().process(grainy)
    assert drawn.shape == grainy.shape
    assert np.abs(drawn[100, 50].astype(int) - (200, 40, 15)).max() < 15
    assert np.abs(drawn[400, 350].astype(int) - (15, 60, 215)).max() < 15
    # Nine pixels wide at a short side of 384: 42 by 56 cells.
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) <= 42 * 56
    assert (np.diff(drawn[:, 50].astype(int), axis=0).any(axis=1)).sum() < 57


def test_a_tiny_picture_keeps_at_least_one_colour() -> None:
    assert ColorGrid().process(halves(3, 2)).shape == (3, 2, 3)
