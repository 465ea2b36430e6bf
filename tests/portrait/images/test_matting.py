"""Parts of matting on drawn people: who is who in a group, holes, veils."""

from dataclasses import replace

import numpy as np

from portrait.images.matting import fill_holes, part_people, settle
from portrait.types import Box, Face
from tests import fakes


def face_at(x: float, y: float, side: float = 40) -> Face:
    """A face without a mesh around a point."""
    box = Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return replace(fakes.face(np.zeros((10, 10, 3), np.uint8)), box=box)


def test_people_side_by_side_are_told_apart_along_the_edge_between_them() -> None:
    image = np.full((120, 160, 3), 220, np.uint8)
    image[20:, 20:78], image[20:, 78:140] = (160, 60, 50), (50, 70, 160)
    people = np.zeros((120, 160), np.float32)
    people[20:, 20:140] = 1
    own = part_people(image, people, face_at(50, 50), [face_at(110, 50)])
    assert own[60, 50]
    assert own[110, 30]
    assert not own[60, 110]
    assert np.flatnonzero(own[60] & (people[60] > 0)).max() in range(75, 81)


def test_the_hair_of_who_stands_in_front_is_not_given_to_those_behind() -> None:
    image = np.full((120, 160, 3), 200, np.uint8)
    image[10:60, 95:125] = (190, 150, 130)
    image[20:120, 30:100] = (90, 60, 40)
    people = np.zeros((120, 160), np.float32)
    people[20:120, 30:100] = people[10:60, 95:125] = 1
    own = part_people(image, people, face_at(65, 60, 44), [face_at(110, 40, 26)])
    assert own[40:80, 34:96].mean() > 0.97
    assert not own[30:45, 104:118].any()


def test_holes_in_clothes_are_closed_and_the_gap_beside_the_neck_is_not() -> None:
    matte = np.ones((200, 200), np.float32)
    face = face_at(100, 60, 60)
    matte[150:160, 100:110] = matte[70:80, 140:150] = 0
    matte[:, :10] = 0
    filled = fill_holes(matte, face, 0.01)
    assert filled[155, 105] == 1
    assert filled[75, 145] == 0
    assert filled[100, 5] == 0, "what reaches the border is no hole"
    assert fill_holes(matte, face)[75, 145] == 1


def test_a_broad_veil_goes_and_a_hair_stays() -> None:
    face, hair = face_at(100, 100, 100), np.ones((200, 200), np.float32)
    matte = np.zeros((200, 200), np.float32)
    matte[60:140, 60:140] = 1
    matte[20:50, 20:180] = 0.2
    matte[60:140, 160] = 0.8
    settled = settle(matte, face, hair)
    assert settled[35, 100] < 0.02
    assert settled[100, 160] > 0.4
    assert settled[100, 100] == 1
