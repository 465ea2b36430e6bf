"""Reference pictures: head and shoulders of a photo, and pictures of any shape at sizes that are taken."""

import numpy as np
import pytest

from portrait.arrays import Image
from portrait.images.reference_pictures import MOST_PIXELS, crop_heads, fit_picture
from portrait.types import Box, Face, Pose, Quality, Reference


def places(width: int, height: int) -> Image:
    """A picture whose red is the column and whose green is the row, in quarters of pixels."""
    rows, columns = np.mgrid[:height, :width] // 4
    return np.dstack([columns, rows, columns * 0]).astype(np.uint8)


def photo(image: Image, box: Box) -> Reference:
    face = Face(box, np.zeros((5, 2), np.float32), None, {}, Pose(0, 0, 0), 1.0)
    return Reference("a.jpg", image, face, Quality(1, 1, 1, 1, 1, 1, 1))


@pytest.mark.parametrize(
    ("box", "left", "top", "side"),
    [
        (Box(350, 200, 450, 300), 250, 124, 300),
        (Box(10, 10, 110, 110), 0, 0, 300),
        (Box(690, 490, 790, 590), 500, 300, 300),
        (Box(200, 100, 600, 500), 100, 0, 600),
        (Box(-50, -40, 900, 700), 125, 0, 600),
    ],
    ids=["in the middle", "in a corner", "in the other corner", "as large as the photo", "larger than the photo"],
)
def test_head_and_shoulders_lie_in_the_photo_and_are_not_mirrored(box: Box, left: int, top: int, side: int) -> None:
    [crop] = crop_heads([photo(places(800, 600), box)])
    assert crop.shape == (side, side, 3)
    assert np.array_equal(crop, places(800, 600)[top : top + side, left : left + side])


def test_references_have_sizes_that_are_taken_and_one_size_where_that_is_asked() -> None:
    small, large = photo(places(48, 48), Box(12, 10, 36, 34)), photo(places(1600, 1300), Box(500, 300, 900, 700))
    assert [crop.shape[0] for crop in crop_heads([small, large])] == [64, 1024]
    assert {crop.shape for crop in crop_heads([small, large], same_size=True)} == {(1024, 1024, 3)}
    assert np.abs(crop_heads([small])[0][::4, ::4].astype(int) - places(48, 48)[::3, ::3]).max() <= 2, (
        "the whole picture"
    )


def test_a_whole_picture_keeps_its_shape_as_far_as_that_is_taken() -> None:
    as_it_is = places(640, 480)
    assert fit_picture(as_it_is) is as_it_is
    assert fit_picture(places(100, 30)).shape == (64, 213, 3)
    assert np.prod(fit_picture(places(1400, 1000)).shape[:2]) <= MOST_PIXELS
    long = fit_picture(places(2000, 100))
    assert long.shape == (250, 2000, 3)
    assert (long[:75] == 255).all()
    assert np.array_equal(long[75:175], places(2000, 100))
    square = fit_picture(places(100, 200), square=True)
    assert square.shape == (200, 200, 3)
    assert (square[:, :50] == 255).all()
    assert np.array_equal(square[:, 50:150], places(100, 200))
