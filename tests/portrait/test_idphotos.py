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
    MAX_MISSING_SHARE,
    SKULL,
    TILTS,
    TRAVEL,
    FramingRules,
    HeadMeasures,
    Range,
    eye_line,
    find_covered_frame,
    find_frame,
    frame_measures,
    is_head_cut,
    measure_head,
    serves_id_photo,
    share_lost,
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


def test_open_ends_hold_everything_on_their_side() -> None:
    assert Range(None, 3).holds(-100)
    assert not Range(1, None).holds(0.5)


def person_at(eyes: tuple[float, float], roll: float = 0.0, above: float = 125.0) -> Mask:
    """A head with a neck and shoulders that reach the lower edge."""
    mask = head_mask(eyes, roll, above)
    cv2.rectangle(mask, (round(eyes[0] - 60), round(eyes[1])), (round(eyes[0] + 60), 999), 1.0, -1)
    shoulders = np.array([[eyes[0], eyes[1] + 130], [eyes[0] - 260, eyes[1] + 230], [eyes[0] - 260, 999],
                          [eyes[0] + 260, 999], [eyes[0] + 260, eyes[1] + 230]], np.int32)  # fmt: skip
    cv2.fillConvexPoly(mask, shoulders, 1.0)
    return mask


EYES = (500.0, 400.0)


def test_a_person_with_head_and_shoulders_serves() -> None:
    assert serves_id_photo(person_at(EYES), face_at(EYES, 0))
    assert not serves_id_photo(person_at(EYES), replace(face_at(EYES, 0), mesh=None))


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [
        ("the photo ends below the chin", slice(0, 530), slice(0, 1000)),
        ("hair is cut above", slice(300, 1000), slice(0, 1000)),
        ("hair is cut beside", slice(0, 1000), slice(430, 1000)),
    ],
)
def test_what_the_photo_cuts_serves_no_id_photo(name: str, rows: slice, columns: slice) -> None:
    part = np.ascontiguousarray(person_at(EYES)[rows, columns])
    eyes = (EYES[0] - columns.start, EYES[1] - rows.start)
    assert not serves_id_photo(part, face_at(eyes, 0)), name


def test_a_shoulder_may_be_cut_outside_of_the_picture_and_not_inside() -> None:
    part = np.ascontiguousarray(person_at(EYES)[:, 330:640])
    face = face_at((170.0, 400.0), 0)
    assert serves_id_photo(part, face)
    assert find_covered_frame(part, measure_head(part, face), PASSPORT, 1.0) is None


def test_a_collar_beside_the_chin_is_no_hair() -> None:
    mask = person_at(EYES)[:, 340:]
    mask[490:, :60] = 1
    face = face_at((160.0, 400.0), 0)
    assert not is_head_cut(np.ascontiguousarray(mask), face, measure_head(mask, face))


def test_a_hole_in_the_head_is_seen() -> None:
    person = person_at(EYES)
    head = measure_head(person, face_at(EYES, 0))
    assert share_lost(person, person, head) == 0
    holed = person.copy()
    cv2.circle(holed, (500, 320), 25, 0.0, -1)
    assert share_lost(holed, person, head) > 0.03


def test_a_head_is_levelled_less_where_levelling_would_show_the_border() -> None:
    """Leaned by 12°, the lower corner of a level frame would leave the photo; some degrees less it does not."""
    leaned = cv2.getRotationMatrix2D(EYES, -12, 1)
    turned = np.asarray(
        cv2.warpAffine(person_at(EYES), leaned, (1000, 1000), borderMode=cv2.BORDER_REPLICATE), np.float32
    )
    face = face_at(EYES, 12)
    head = measure_head(turned, face)
    level = find_covered_frame(turned, head, *TRAVEL)
    assert level is not None
    assert level.roll == pytest.approx(12)
    lowest = round(float(level.corners()[:, 1].max()))
    found = {}
    for cut in range(0, 40, 4):
        frame = find_covered_frame(np.ascontiguousarray(turned[: lowest - cut]), head, *TRAVEL)
        if frame is not None:
            found[cut] = 12 - frame.roll
            assert share_missing(turned[: lowest - cut], frame) <= MAX_MISSING_SHARE
    assert max(found.values()) <= TILTS[-1]
