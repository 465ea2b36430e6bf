"""A person enlarged finely where the person is, and coarsely elsewhere."""

import cv2
import numpy as np
import pytest

from portrait.arrays import Mask
from portrait.studio.warping import visible_columns, warp_person


def alpha() -> Mask:
    """A head above shoulders."""
    drawn = np.zeros((240, 200), np.uint8)
    cv2.circle(drawn, (90, 80), 40, 1, -1)
    cv2.rectangle(drawn, (20, 150), (170, 239), 1, -1)
    return drawn.astype(np.float32)


@pytest.mark.parametrize("turned", [0.0, 4.0, -11.0])
@pytest.mark.parametrize("scale", [0.8, 1.0, 3.1])
def test_the_person_is_what_opencv_enlarges_with_the_fine_filter(scale: float, turned: float) -> None:
    front = np.random.default_rng(1).integers(0, 256, (90, 80, 3), np.uint8)
    matrix = cv2.getRotationMatrix2D((40, 45), turned, scale) + np.array([[0, 0, 31.7], [0, 0, 40.2]])
    fine = cv2.warpAffine(front, matrix, (200, 240), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    found, person = warp_person(front, alpha(), matrix, 6), alpha()
    near = cv2.dilate(person, np.ones((13, 13), np.uint8)) > 0
    assert (found[near] == fine[near]).all()
    assert (found != fine).any()


def test_nobody_is_enlarged_coarsely() -> None:
    front = np.random.default_rng(1).integers(0, 256, (90, 80, 3), np.uint8)
    matrix = np.array([[2.5, 0, 0], [0, 2.5, 0]])
    coarse = cv2.warpAffine(front, matrix, (200, 225), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    assert (warp_person(front, np.zeros((225, 200), np.float32), matrix, 6) == coarse).all()


def test_a_trace_that_nobody_sees_has_no_columns() -> None:
    trace = np.full((8, 20), 1 / 2000, np.float32)
    assert visible_columns(trace) == slice(0, 0)
    trace[3, 7] = 0.5
    assert visible_columns(trace, 2) == slice(5, 10)
