"""Framing on a drawn person: the rules where there is room, no hole where there is not."""

import cv2
import numpy as np
import pytest

from portrait.arrays import Mask, Size
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.studio.composition import EYE_LINE, FACE_SHARE, TILT, Framing, frame_portrait, levelling_angle
from portrait.types import Box, Face, Pose

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
