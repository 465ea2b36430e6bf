import cv2
import numpy as np
import pytest

from portrait.arrays import Image, Size
from portrait.faces.geometry import RotatedRect, crop
from portrait.images.windows import Window, reduced_size, shrink_window
from tests import selfies


@pytest.fixture(scope="module")
def large() -> Image:
    """Hard edges everywhere: a photo with noise, 2000×1501."""
    noise = np.random.default_rng(0).integers(0, 60, (1501, 2000, 3), np.uint8)
    photo = cv2.resize(selfies.astronaut(), (2000, 1501), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.add(photo, noise), np.uint8)


@pytest.mark.parametrize("factor", [0.5, 1 / 1.5, 1 / 1.500094, 0.3123, 0.777, 1 / 7.3])
def test_a_window_is_that_of_the_whole_reduced_picture(large: Image, factor: float) -> None:
    whole = cv2.resize(large, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    height, width = whole.shape[:2]
    assert reduced_size(large, factor, factor) == Size(width, height)
    for left, top, right, bottom in ((0, 0, 1, 1), (0.3, 0.4, 0.6, 0.7), (0.9, 0.95, 1, 1), (0.02, 0.5, 0.11, 1)):
        window = Window(int(left * width), int(top * height), int(right * width), int(bottom * height))
        part = shrink_window(large, window, factor, factor)
        expected = whole[window.top : window.bottom, window.left : window.right]
        assert part.shape == expected.shape
        assert (part == expected).all()


@pytest.mark.parametrize(
    ("centre", "side", "roll"),
    [((900, 500), 420, 8), ((1900, 1400), 700, -50), ((-90, 60), 300, 0), ((1000, 700), 2500, 20)],
)
def test_a_crop_is_that_of_the_whole_reduced_picture(
    large: Image, centre: tuple[float, float], side: float, roll: float
) -> None:
    frame, size = RotatedRect(centre, side, side, roll), Size(128, 96)
    shrink = side / 128
    small = cv2.resize(large, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    real = np.array([small.shape[1] / large.shape[1], small.shape[0] / large.shape[0]])
    shown = np.array([[1 / real[0], 0, 0.5 / real[0] - 0.5], [0, 1 / real[1], 0.5 / real[1] - 0.5], [0, 0, 1]])
    matrix = frame.matrix_to(size) @ shown
    expected = cv2.warpAffine(small, matrix, (128, 96), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    assert (crop(large, frame, size) == expected).all()
