import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from portrait.arrays import Mask, Size
from portrait.errors import EngineError
from portrait.faces.geometry import RotatedRect
from portrait.idphotos import (
    HAIR,
    LIMITS,
    SKULL,
    FramingRules,
    HeadMeasures,
    Range,
    check_rule,
    eye_line,
    find_frame,
    frame_measures,
    judge_photo,
    measure_head,
    share_missing,
)
from portrait.types import Box, Face, Pose

HEAD = HeadMeasures((500.0, 400.0), 0.0, 130.0, 118.0, 110.0, 150.0)
PASSPORT = FramingRules(Range(0.5, 0.69), "hair", Range(0.56, 0.69))


def face_at(eyes: tuple[float, float], roll: float, chin: float = 110.0, breadth: float = 150.0) -> Face:
    """A face with the few mesh points that are read."""
    angle = math.radians(roll)
    across, down = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    mesh = np.zeros((478, 3), np.float32)
    mesh[:, :2] = eyes
    for index, (x, y) in {152: (0, chin), 234: (-breadth / 2, 20), 454: (breadth / 2, 20)}.items():
        mesh[index, :2] = eyes + x * across + y * down
    for index, (x, y) in {61: (-25, 70), 291: (25, 70), 13: (0, 69), 14: (0, 71)}.items():
        mesh[index, :2] = eyes + x * across + y * down
    places = np.array(
        [eyes - 32 * across, eyes + 32 * across, eyes + 40 * down, mesh[61, :2], mesh[291, :2]], np.float32
    )
    box = Box(eyes[0] - breadth / 2, eyes[1] - 60, eyes[0] + breadth / 2, eyes[1] + chin)
    return Face(box, places, mesh, {}, Pose(0, 0, roll), 1.0)


def head_mask(eyes: tuple[float, float], roll: float, above: float) -> Mask:
    """An oval head whose highest point lies `above` the eyes, and shoulders."""
    mask = np.zeros((1000, 1000), np.float32)
    angle = math.radians(roll)
    down = np.array([-math.sin(angle), math.cos(angle)])
    middle = np.array(eyes) + down * (110 - above) / 2
    centre = (round(float(middle[0])), round(float(middle[1])))
    cv2.ellipse(mask, centre, (85, round((110 + above) / 2)), roll, 0, 360, 1.0, -1)
    cv2.rectangle(mask, (300, 560), (700, 999), 1.0, -1)
    return mask


@pytest.mark.parametrize("roll", [-14.0, 0.0, 9.0])
@pytest.mark.parametrize("above", [112.0, 125.0, 160.0])
def test_the_highest_hair_is_found_along_the_heads_own_axis(roll: float, above: float) -> None:
    head = measure_head(head_mask((500.0, 400.0), roll, above), face_at((500.0, 400.0), roll))
    assert head.hair == pytest.approx(above, abs=3)
    assert head.chin == pytest.approx(110, abs=0.5)
    assert SKULL[0] * head.chin - 1e-6 <= head.skull <= SKULL[1] * head.chin + 1e-6
    assert head.skull <= head.hair + 1e-6


def test_a_single_hair_makes_nobody_taller() -> None:
    mask = head_mask((500.0, 400.0), 0, 125)
    mask[200:290, 500:504] = 1
    assert measure_head(mask, face_at((500.0, 400.0), 0)).hair == pytest.approx(125, abs=3)


def test_the_skull_is_found_under_usual_hair_to_a_few_per_cent_of_the_head() -> None:
    random = np.random.default_rng(1)
    skulls = np.clip(random.normal(1.03, 0.05, 400), *SKULL)
    errors = []
    for skull, hair in zip(skulls, random.uniform(0.03, 0.25, 400), strict=True):
        estimate = float(np.clip(skull + hair - HAIR, *SKULL))
        errors.append(abs(estimate - skull) / (1 + skull))
    assert np.median(errors) < 0.035
    assert np.percentile(errors, 95) < 0.085


def test_a_face_without_a_mesh_is_refused() -> None:
    with pytest.raises(EngineError, match="mesh"):
        measure_head(head_mask((500.0, 400.0), 0, 120), replace(face_at((500.0, 400.0), 0), mesh=None))


@pytest.mark.parametrize("roll", [0.0, 8.0])
def test_head_and_eyes_come_inside_their_ranges(roll: float) -> None:
    head = replace(HEAD, roll=roll)
    frame = find_frame(head, PASSPORT, 1.0, Size(1000, 1000))
    found = frame_measures(head, frame, eye_line(head, frame), "hair")
    assert PASSPORT.head.holds(found["head"])
    assert PASSPORT.eyes.holds(found["eyes"])
    assert frame.roll == roll


def test_room_above_and_below_is_respected() -> None:
    rules = FramingRules(
        Range(445 / 653, 500 / 653), "hair", top=Range(56 / 653, 84 / 653), below=Range(96 / 653, 124 / 653)
    )
    frame = find_frame(HEAD, rules, 500 / 653, Size(1000, 1000))
    found = frame_measures(HEAD, frame, eye_line(HEAD, frame), "hair")
    assert rules.top.holds(found["top"])
    assert rules.below.holds(found["below"])


def test_a_frame_rather_shows_a_larger_head_than_the_end_of_the_photo() -> None:
    def share(height: int) -> float:
        frame = find_frame(HEAD, PASSPORT, 1.0, Size(1000, height))
        return frame_measures(HEAD, frame, 0.6, "hair")["head"]

    assert share(580) > share(1000)


def test_shoulders_that_the_photo_does_not_show_are_measured() -> None:
    person = np.zeros((600, 400), np.float32)
    person[300:, 100:300] = 1
    assert share_missing(person, RotatedRect((200.0, 400.0), 200, 200, 0)) == 0
    assert share_missing(person, RotatedRect((200.0, 550.0), 200, 200, 0)) > 0.1


def test_faults_of_the_photo_are_reported() -> None:
    image = np.full((1000, 1000, 3), 128, np.uint8)
    face = face_at((500.0, 400.0), 0)
    assert face.mesh is not None
    mesh = face.mesh.copy()
    mesh[14, 1] += 15
    results = {
        each.name: each
        for each in judge_photo(image, replace(face, mesh=mesh, pose=Pose(20, 0, 0)), replace(HEAD, hair=402.0), [face])
    }
    assert {name for name in ("people", "yaw", "mouth_open", "head_whole") if not results[name].ok} == {
        "people", "yaw", "mouth_open", "head_whole",
    }  # fmt: skip
    assert all(results[name].tip for name in ("people", "yaw", "mouth_open", "head_whole"))
    assert set(results) == set(LIMITS)


def test_open_ends_hold_everything_on_their_side() -> None:
    assert Range(None, 3).holds(-100)
    assert not Range(1, None).holds(0.5)
    assert check_rule("x", 2.0, Range(1, 3), "mm", "mend it").tip == ""
