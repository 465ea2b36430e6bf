"""Framing on a drawn person: the rules where there is room, no hole where there is not."""

import cv2
import numpy as np
import pytest

from portrait.arrays import Mask, Size
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.studio.composition import (
    EYE_LINE,
    FACE_SHARE,
    RULES,
    TILT,
    Framing,
    compose,
    compositions,
    frame_portrait,
    levelling_angle,
)
from portrait.types import Box, Composition, Face, Pose

SIZE = Size(320, 400)


def person(width: int = 600, height: int = 800, x: int = 300, roll: float = 0) -> tuple[Mask, Face]:
    """Head, neck and shoulders; the face is 100 px high with its eyes at row 200."""
    mask = np.zeros((height, width), np.float32)
    cv2.ellipse(mask, (x, 205), (60, 90), 0, 0, 360, 1.0, -1)
    cv2.rectangle(mask, (x - 30, 260), (x + 30, 330), 1.0, -1)
    cv2.ellipse(mask, (x, 560), (190, 260), 0, 0, 360, 1.0, -1)
    cv2.rectangle(mask, (x - 190, 560), (x + 190, height), 1.0, -1)
    five = [(x - 20, 200), (x + 20, 200), (x, 225), (x - 15, 245), (x + 15, 245)]
    face = Face(Box(x - 44, 163, x + 44, 263), np.array(five, np.float32), None, {}, Pose(0, 0, roll), 1.0)
    return mask, face


def placed(face: Face, framing: Framing) -> Face:
    return transform_face(face, framing.frame.matrix_to(SIZE))


def holes(mask: Mask, framing: Framing) -> int:
    """Pixels in which the person would go on where the photo has ended."""
    matrix = framing.frame.matrix_to(SIZE)
    size = (SIZE.width, SIZE.height)
    visible = cv2.warpAffine(mask, matrix, size, borderMode=cv2.BORDER_REPLICATE) > 0.5
    known = cv2.warpAffine(np.ones_like(mask), matrix, size, borderMode=cv2.BORDER_CONSTANT) > 0.99
    return int((visible & ~known).sum())


def test_with_room_the_rules_are_met() -> None:
    mask, face = person()
    framing = frame_portrait(mask, face, SIZE)
    assert framing is not None
    drawn = placed(face, framing)
    assert drawn.landmarks[:2, 1].mean() / 400 == pytest.approx(EYE_LINE, abs=0.02)
    assert drawn.box.height / 400 == pytest.approx(FACE_SHARE, rel=0.08)
    assert drawn.box.centre[0] / 320 == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("height", [385, 370, 350])
def test_a_photo_that_ends_early_gives_a_closer_portrait_without_a_hole(height: int) -> None:
    mask, face = person(height=height)
    framing = frame_portrait(mask, face, SIZE)
    assert framing is not None
    assert holes(mask, framing) == 0
    assert framing.face_share > FACE_SHARE


def test_a_shoulder_cut_by_the_side_is_moved_out_of_sight() -> None:
    mask, face = person(width=480, x=150)
    framing = frame_portrait(mask, face, SIZE)
    assert framing is not None
    assert holes(mask, framing) == 0


@pytest.mark.parametrize("width", [400, 410, 420])
def test_a_closer_portrait_is_preferred_to_one_beside_the_middle(width: int) -> None:
    mask, face = person(width=width)
    framing = frame_portrait(mask, face, SIZE)
    assert framing is not None
    assert holes(mask, framing) == 0
    assert placed(face, framing).box.centre[0] / 320 == pytest.approx(0.5, abs=0.045)
    assert framing.face_share < 1.4 * FACE_SHARE


@pytest.mark.parametrize(("width", "height", "x"), [(600, 300, 300), (400, 800, 45), (600, 270, 300)])
def test_what_cannot_be_hidden_is_refused(width: int, height: int, x: int) -> None:
    mask, face = person(width, height, x)
    assert frame_portrait(mask, face, SIZE) is None


def test_a_head_without_shoulders_is_refused() -> None:
    mask, face = person()
    mask[300:] = 0
    assert frame_portrait(mask, face, SIZE) is None


def test_the_frame_does_not_depend_on_resolution() -> None:
    mask, face = person()
    large = np.asarray(cv2.resize(mask, None, fx=3, fy=3), np.float32)
    one, other = frame_portrait(mask, face, SIZE), frame_portrait(large, transform_face(face, scaling_matrix(3)), SIZE)
    assert one is not None
    assert other is not None
    assert other.frame.width / 3 == pytest.approx(one.frame.width, rel=0.01)
    assert other.frame.centre[0] / 3 == pytest.approx(one.frame.centre[0], abs=2)


@pytest.mark.parametrize("roll", [-40.0, -12.0, -3.0, 0.0, 3.0, 12.0, 40.0])
def test_heads_are_levelled_gently(roll: float) -> None:
    left = roll - levelling_angle(roll)
    assert abs(left) <= TILT
    assert left * roll >= 0
    assert abs(left) >= 0.9 * abs(roll) or abs(roll) > 3


# --- Compositions


def cut(left: int, top: int, right: int, bottom: int) -> tuple[Mask, Face]:
    """The drawn person in a photo that shows these columns and rows of a wide one."""
    mask, face = person(900, 1200, 450)
    moved = transform_face(face, np.array([[1, 0, -left], [0, 1, -top]], np.float64))
    return np.ascontiguousarray(mask[top:bottom, left:right]), moved


def leaned(degrees: float) -> tuple[Mask, Face]:
    """The drawn person in a close photo, for which the camera was leaned."""
    mask, face = person(900, 1200, 450)
    matrix = np.asarray(cv2.getRotationMatrix2D((450, 215), degrees, 1), np.float64)
    turned = np.asarray(cv2.warpAffine(mask, matrix, (900, 1200)), np.float32)
    matrix[:, 2] -= (340, 80)
    return np.ascontiguousarray(turned[80:380, 340:560]), transform_face(face, matrix)


def test_a_photo_with_room_is_framed_as_usual_and_serves_all_compositions() -> None:
    mask, face = person(900, 1200, 450)
    usual, framing = frame_portrait(mask, face, SIZE), compose(mask, face, SIZE)
    assert usual is not None
    assert framing == usual
    assert compositions(mask, face, SIZE) == tuple(RULES)


@pytest.mark.parametrize("name", RULES)
def test_each_composition_has_the_head_as_large_as_it_says(name: Composition) -> None:
    mask, face = person(900, 1200, 450)
    framing = compose(mask, face, SIZE, (name,))
    assert framing is not None
    assert framing.composition == name
    drawn = placed(face, framing)
    assert RULES[name].least <= drawn.box.height / 400 <= RULES[name].most
    assert drawn.box.centre[0] / 320 == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("edges", "wanted"),
    [
        ((300, 60, 640, 300), "close"),  # the neck cut
        ((340, 125, 560, 290), "very_close"),  # hair cut
        ((380, 130, 520, 275), "very_close"),  # face alone
        ((415, 60, 760, 420), "very_close"),  # the hair cut at one side
    ],
)
def test_where_the_photo_ends_the_portrait_ends(edges: tuple[int, int, int, int], wanted: str) -> None:
    mask, face = cut(*edges)
    framing = compose(mask, face, SIZE)
    assert framing is not None
    assert framing.composition == wanted
    assert holes(mask, framing) == 0
    drawn = placed(face, framing)
    assert drawn.landmarks[:, 1].min() > 20
    assert drawn.landmarks[:, 1].max() < 390


@pytest.mark.parametrize("degrees", [-20, 8])
def test_a_leaned_photo_is_levelled_as_far_as_its_border_stays_out(degrees: float) -> None:
    mask, face = leaned(degrees)
    framing = compose(mask, face, SIZE)
    assert framing is not None
    assert holes(mask, framing) == 0
    assert abs(placed(face, framing).pose.roll) <= abs(degrees) + 0.1


@pytest.mark.parametrize("edges", [(440, 60, 760, 420), (330, 215, 570, 330), (330, 60, 570, 240)])
def test_a_photo_that_ends_in_eyes_or_mouth_serves_nothing(edges: tuple[int, int, int, int]) -> None:
    mask, face = cut(*edges)
    assert compositions(mask, face, SIZE) == ()


@pytest.mark.parametrize("size", [Size(64, 64), Size(480, 200), Size(200, 600)])
def test_any_shape_ends_where_the_photo_ends(size: Size) -> None:
    mask, face = cut(330, 60, 570, 330)
    framing = compose(mask, face, size)
    if framing is not None:
        assert framing.frame.width / framing.frame.height == pytest.approx(size.width / size.height, rel=0.01)
        assert holes(mask, framing) == 0
