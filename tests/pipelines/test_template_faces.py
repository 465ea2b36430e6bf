"""Faces of groups: found by tiles, told where one may be missed, pointed at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines import template_faces
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.ports import FaceFinder
from portrait.types import Box, Face, Pose, StylePicture
from tests import dressed, selfies
from tests.fakes import FakeFinder

Points = Mapping[int, tuple[float, float]]


def face(left: float, top: float = 100, width: float = 80) -> Face:
    box = Box(left, top, left + width, top + width)
    return Face(box, np.zeros((5, 2), np.float32), None, {}, Pose(0, 0, 0), 1.0)


def picture(*faces: Face, missed: Sequence[Box] = ()) -> StylePicture:
    return StylePicture(np.full((400, 900, 3), 90, np.uint8), faces, missed=tuple(missed))


def test_a_point_stands_for_the_face_it_lies_on() -> None:
    group = picture(face(100), face(300), face(500))
    assert template_faces.number_at(group, (340, 140)) == 2
    assert template_faces.renumber({1: "ann", 1001: "ben"}, group, {1001: (545, 150)}) == {1: "ann", 3: "ben"}


@pytest.mark.parametrize(
    ("people", "points", "code"),
    [({1001: "ben"}, {1001: (700.0, 300.0)}, "no_face_there"), ({2: "ann", 9: "ben"}, {9: (340.0, 140.0)}, "bad_face")],
)
def test_nobody_is_drawn_over_another_than_was_asked(people: dict[int, str], points: Points, code: str) -> None:
    with pytest.raises(UserError) as caught:
        template_faces.renumber(people, picture(face(100), face(300)), points)
    assert caught.value.code == code


def test_places_of_a_recipe_find_their_faces_in_another_count() -> None:
    # The recipe knew two faces; this version finds one more between them.
    assert template_faces.renumber({2: "ben"}, picture(face(100), face(300), face(500)), {2: (540, 140)}) == {3: "ben"}


def test_numbers_and_question_marks_are_drawn() -> None:
    marked = template_faces.draw_numbers(picture(face(100), missed=[Box(500, 100, 580, 180)]))
    assert marked.shape == (400, 900, 3)
    assert tuple(marked[140, 100]) == (30, 200, 90)
    assert tuple(marked[140, 500]) == (255, 150, 0)


def test_a_picture_without_a_face_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.png"
    cv2.imwrite(str(file), np.zeros((100, 100, 3), np.uint8))
    with pytest.raises(UserError, match="No face was found"):
        template_faces.read_picture(file, FakeFinder())


@pytest.fixture(scope="module")
def row(astronaut: Image, astronaut_face: Face) -> Image:
    """Three people, the one in the middle under a hat and behind opaque glasses."""
    hidden = dressed.sunglasses(astronaut, astronaut_face)[0]
    cv2.ellipse(hidden, (228, 88), (90, 29), 0, 0, 360, (60, 50, 40), -1)
    cv2.ellipse(hidden, (228, 60), (55, 40), 0, 0, 360, (60, 50, 40), -1)
    out = np.full((310, 750, 3), (170, 160, 150), np.uint8)
    for at, each in enumerate((astronaut, hidden, np.ascontiguousarray(astronaut[:, ::-1]))):
        left = 172 if at == 2 else 125
        out[40:300, 20 + 240 * at : 235 + 240 * at] = each[:260, left : left + 215]
    return out


def test_all_of_a_row_are_found_or_reported(row: Image, finder: FaceFinder) -> None:
    faces, missed = template_faces.find_faces(row, finder)
    seen = sorted([each.box.centre[0] for each in faces] + [box.centre[0] for box in missed])
    assert len(seen) == 3
    assert all(abs(x - wanted) < 40 for x, wanted in zip(seen, (122, 362, 600), strict=True))


def test_small_faces_of_a_large_picture_are_found(finder: FaceFinder) -> None:
    group = selfies.resized(selfies.group(), 0.7)  # faces of 68 to 85 pixels
    large = np.full((1500, 2200, 3), 150, np.uint8)
    large[800 : 800 + group.shape[0], 1200 : 1200 + group.shape[1]] = group
    faces, _ = template_faces.find_faces(large, finder)
    assert len(faces) == 6


def test_a_face_that_is_pointed_at_is_added(tmp_path: Path, astronaut: Image, finder: FaceFinder) -> None:
    file = tmp_path / "astronaut.png"
    cv2.imwrite(str(file), cv2.cvtColor(astronaut, cv2.COLOR_RGB2BGR))
    found = template_faces.read_picture(file, finder, [(224, 123)])
    assert len(found.faces) == 1
    assert template_faces.find_face_at(astronaut, finder, (224, 123)).box.width == pytest.approx(94, abs=6)
    with pytest.raises(UserError, match="Point at the middle"):
        template_faces.find_face_at(astronaut, finder, (60, 400))
