"""Tiles give what the whole picture would have given."""

import tracemalloc

import cv2
import numpy as np
import pytest

from portrait.arrays import Image
from portrait.images.tiling import Tiling, process_tiled, tile_spans

SMALL = Tiling(48, 6, 5)


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blurred(tile: Image) -> np.ndarray:
    """Looks 6 pixels far; outside a picture it sees black, so that a tile's edge would show."""
    return cv2.blur(tile.astype(np.float32), (13, 13), borderType=cv2.BORDER_CONSTANT)


@pytest.mark.parametrize("size", [1, 7, 47, 48, 49, 64, 91, 200, 511])
def test_spans_cover_a_side_and_their_weights_sum_to_one(size: int) -> None:
    total = np.zeros(size)
    for start, weights in tile_spans(size, SMALL):
        assert len(weights) == min(48, size)
        total[start : start + len(weights)] += weights
    assert total == pytest.approx(np.ones(size), abs=1e-6)


@pytest.mark.parametrize("size", [1, 47, 48, 50, 64, 91, 203, 512, 6001])
def test_tiles_begin_where_a_network_folds_pixels(size: int) -> None:
    stepped = Tiling(48, 6, 5, 4)
    total = np.zeros(size)
    for start, weights in tile_spans(size, stepped):
        assert start % 4 == 0
        assert min(48, size) - 4 < len(weights) <= 48
        inner = weights[6 if start else 0 : None if start + len(weights) == size else -6]
        assert weights.sum() == pytest.approx(inner.sum(), abs=1e-5)
        total[start : start + len(weights)] += weights
    assert total == pytest.approx(np.ones(size), abs=1e-6)


@pytest.mark.parametrize("shape", [(64, 64), (48, 48), (20, 300), (301, 49), (97, 130), (1, 1)])
def test_tiled_equals_untiled(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    whole = blurred(image)
    assert np.abs(process_tiled(image, blurred, SMALL).astype(float) - whole).max() <= 1


def test_a_margin_too_small_would_show() -> None:
    image = noise(200, 200)
    whole = blurred(image)
    assert np.abs(process_tiled(image, blurred, Tiling(48, 0, 5)).astype(float) - whole).max() > 10


@pytest.mark.parametrize("factor", [2, 4])
def test_pictures_that_grow_are_put_together_at_their_new_size(factor: int) -> None:
    def grown(tile: Image) -> np.ndarray:
        return np.repeat(np.repeat(blurred(tile), factor, 0), factor, 1)

    image = noise(131, 77)
    assert np.abs(process_tiled(image, grown, SMALL, factor).astype(float) - grown(image)).max() <= 1


def test_every_tile_of_a_large_picture_has_one_size() -> None:
    shapes = set()

    def record(tile: Image) -> np.ndarray:
        shapes.add(tile.shape)
        return tile.astype(np.float32)

    image = noise(333, 217)
    assert (process_tiled(image, record, SMALL) == image).all()
    assert shapes == {(48, 48, 3)}


def test_memory_holds_one_row_of_tiles_beside_the_result() -> None:
    image = noise(6000, 500)
    tiling = Tiling(256, 16, 16)
    tracemalloc.start()
    out = process_tiled(image, lambda tile: tile.astype(np.float32), tiling)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    row = 256 * 500 * 3 * 4
    assert (out == image).all()
    assert peak < out.nbytes + 6 * row


def test_an_engine_that_gives_another_size_is_found_out() -> None:
    with pytest.raises(ValueError, match="times as large"):
        process_tiled(noise(60, 60), lambda tile: tile[:-1].astype(np.float32), SMALL)
    with pytest.raises(ValueError, match="room"):
        Tiling(32, 14, 8)
