"""One person in a photo of several."""

import itertools

import numpy as np
import pytest

from portrait.arrays import Size
from portrait.photos.groups import Turned, nearest, shares_of, window_without
from portrait.types import Box

SIZE = Size(1000, 600)


def touches(one: Box, other: Box) -> bool:
    return min(one.right, other.right) > max(one.left, other.left) and min(one.bottom, other.bottom) > max(
        one.top, other.top
    )


@pytest.mark.parametrize("turns", range(4))
def test_places_go_to_the_upright_photo_and_back(turns: int) -> None:
    picture = np.zeros((60, 100), np.uint8)
    picture[6:12, 70:80] = 1
    rows, columns = np.nonzero(np.rot90(picture, turns))
    height, width = np.rot90(picture, turns).shape
    upright = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    stored = Turned(turns).stored(shares_of(upright, Size(width, height)))
    assert (stored.left, stored.top, stored.right, stored.bottom) == pytest.approx((0.7, 0.1, 0.8, 0.2))
    x, y = Turned(turns).point(*stored.centre)
    assert (x * width, y * height) == pytest.approx(upright.centre)
    assert Turned(turns).stored_point(x, y) == pytest.approx(stored.centre)


def test_a_point_means_the_face_that_is_nearest_by_its_size() -> None:
    large, small = Box(0, 0, 400, 400), Box(420, 100, 460, 140)
    assert nearest([large, small], 200, 200) == 0
    assert nearest([large, small], 440, 120) == 1
    assert nearest([small, large], 390, 300) == 1


def test_no_other_face_is_left_and_the_own_one_is_whole() -> None:
    own = Box(450, 200, 550, 320)
    around = [Box(x, y, x + 90, y + 110) for x, y in ((330, 210), (570, 190), (460, 20), (440, 460), (20, 20))]
    for count in range(1, 4):
        for others in itertools.combinations(around, count):
            window = window_without(own, others, SIZE)
            assert (window.left, window.top) <= (own.left, own.top)
            assert window.right >= own.right
            assert window.bottom >= own.bottom
            assert not any(touches(window, each) for each in others)


def test_most_of_the_person_is_kept() -> None:
    beside = window_without(Box(450, 200, 550, 320), [Box(700, 200, 790, 310)], SIZE)
    assert (beside.left, beside.top, beside.bottom) == (0, 0, 600), "cut at the side, and not through the shoulders"
    assert 640 < beside.right < 700
    behind = window_without(Box(450, 300, 550, 420), [Box(460, 20, 550, 120)], SIZE)
    assert (behind.left, behind.right, behind.bottom) == (0, 1000, 600), "cut above the hair"


def test_faces_that_overlap_are_parted_in_the_middle() -> None:
    window = window_without(Box(400, 200, 500, 320), [Box(480, 210, 580, 330)], SIZE)
    assert (window.left, window.right) == (0, 490)
