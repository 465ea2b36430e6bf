"""Strips of rows give together what the whole picture gives, and take less memory."""

import tracemalloc

import cv2
import numpy as np
import pytest

from portrait.images import resize
from portrait.images.filters import mirrored_blur_strips
from portrait.images.resize import STRIP_ROWS, enlarged_strips, shrink_strips, strips


def noise(*shape: int) -> np.ndarray:
    return (np.random.default_rng(0).random(shape) * 255).astype(np.float32)


@pytest.mark.parametrize("whole", [0, resize.WHOLE_VALUES])
@pytest.mark.parametrize("enlarging", [cv2.INTER_LINEAR, cv2.INTER_CUBIC])
@pytest.mark.parametrize(
    ("small", "large"),
    [
        ((37, 23, 3), (200, 151)),
        ((37, 23), (200, 151)),
        ((37, 23, 3), (41, 23)),
        ((150, 90), (150, 90)),
        ((1, 1, 3), (70, 5)),
    ],
)
def test_strips_of_an_enlarged_picture(
    small: tuple[int, ...], large: tuple[int, int], enlarging: int, whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resize, "WHOLE_VALUES", whole)
    values = noise(*small)
    found = list(enlarged_strips(values, large, enlarging))
    assert [part for part, _ in found] == list(strips(large[0]))
    expected = cv2.resize(values, large[::-1], interpolation=enlarging).reshape(*large, *small[2:])
    assert np.abs(np.concatenate([strip for _, strip in found]) - expected).max() < 1e-3


@pytest.mark.parametrize("factor", [1.0, 0.31])
@pytest.mark.parametrize("shape", [(STRIP_ROWS * 3 + 7, 120, 3), (STRIP_ROWS, 61)])
def test_a_picture_in_strips_is_shrunk_as_the_whole(shape: tuple[int, ...], factor: float) -> None:
    values = noise(*shape).astype(np.uint8)
    expected = cv2.resize(values.astype(np.float32), None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    found = shrink_strips((values[part] for part in strips(shape[0])), factor, factor)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-3


def test_a_blur_in_strips_holds_no_second_picture() -> None:
    values = noise(2000, 1500, 3).astype(np.uint8)
    expected = cv2.GaussianBlur(values, (0, 0), 20.0).astype(np.float32)
    tracemalloc.start()
    worst = 0.0
    for part, strip in mirrored_blur_strips((values[part] for part in strips(2000)), values.shape, 20.0):
        inside = strip[:, 80:-80] - expected[part, 80:-80]
        worst = max(worst, float(np.abs(inside).max())) if 80 <= part.start < 1900 else worst
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert worst < 6
    # In single precision the picture and its blur are 36 MB each.
    assert peak < 20e6
