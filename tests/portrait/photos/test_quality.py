from dataclasses import replace

import numpy as np
import pytest

from portrait.arrays import Image
from portrait.photos.quality import (
    eye_opening,
    face_light,
    find_faults,
    has_main_face,
    judge,
    measure_sharpness,
    reason_for,
    share_outside,
)
from portrait.photos.reasons import RESERVE, TIPS, Thresholds
from portrait.ports import FaceFinder
from portrait.types import Box, Face, Pose
from tests import fakes, selfies

LIMITS = Thresholds()


def test_a_good_photo_has_no_fault(astronaut: Image, astronaut_face: Face) -> None:
    assert find_faults(astronaut, astronaut_face, 1, LIMITS) == []
    quality = judge(astronaut, astronaut_face, 1, LIMITS)
    assert quality.total > 0.75
    assert min(quality.sharpness, quality.exposure, quality.frontality, quality.eyes, quality.framing) > 0.9


def test_sharpness_falls_with_blur_and_ignores_light_and_noise(astronaut: Image, astronaut_face: Face) -> None:
    def sharp(image: Image) -> float:
        return measure_sharpness(image, astronaut_face)

    values = [sharp(selfies.blurred(astronaut, share)) for share in (0, 0.01, 0.02, 0.04)]
    assert values == sorted(values, reverse=True)
    assert values[1] > LIMITS.sharp > values[2]
    assert sharp(selfies.lit(astronaut, -2)) == pytest.approx(values[0], abs=0.12)
    assert sharp(selfies.noisy(selfies.blurred(astronaut, 0.03), 4)) < LIMITS.sharp


def test_light_is_read_from_the_face_alone(astronaut: Image, astronaut_face: Face) -> None:
    dark_room = astronaut.copy()
    dark_room[200:] = 0
    assert face_light(dark_room, astronaut_face) == face_light(astronaut, astronaut_face)
    assert "dark" in find_faults(selfies.lit(astronaut, -4.5), astronaut_face, 1, LIMITS)
    assert "bright" in find_faults(selfies.lit(astronaut, 2), astronaut_face, 1, LIMITS)


def test_closed_eyes_are_detected_and_a_wink_is_ignored(
    finder: FaceFinder, astronaut: Image, astronaut_face: Face
) -> None:
    shut = finder.faces(selfies.eyes_shut(astronaut, astronaut_face, 1.0))[0]
    assert find_faults(astronaut, shut, 1, LIMITS) == ["eyes_closed"]
    assert astronaut_face.mesh is not None
    assert shut.mesh is not None
    wink = astronaut_face.mesh.copy()
    wink[:, :2][wink[:, 0] > 224] = shut.mesh[:, :2][wink[:, 0] > 224]
    assert eye_opening(replace(astronaut_face, mesh=wink)) > LIMITS.eyes


def test_size_counts_native_pixels() -> None:
    image = fakes.picture(1, 0, 200)
    face = replace(fakes.face(image), box=Box(70, 70, 120, 130))
    assert "face_small" in find_faults(image, face, 1.0, LIMITS)
    assert "face_small" not in find_faults(image, face, 3.0, LIMITS)


def test_cut_faces_and_turned_heads() -> None:
    image = fakes.picture(1, 0)
    face = fakes.face(image)
    assert share_outside(image, replace(face, box=Box(-50, 0, 50, 100))) == pytest.approx(0.5)
    assert "face_cut" in find_faults(image, replace(face, box=Box(-50, 0, 250, 300)), 1, LIMITS)
    assert "turned_away" in find_faults(image, replace(face, pose=Pose(-50, 0, 0)), 1, LIMITS)
    assert "turned_away" in find_faults(image, replace(face, pose=Pose(0, 40, 0)), 1, LIMITS)


def test_a_face_outside_the_picture_is_judged_without_a_crash() -> None:
    image = fakes.picture(1, 0)
    lost = replace(fakes.face(image), box=Box(-90, -90, -10, -10))
    assert "face_cut" in find_faults(image, lost, 1, LIMITS)
    assert 0 <= judge(image, lost, 1, LIMITS).total <= 1


def test_the_largest_must_be_four_times_the_next() -> None:
    image = fakes.picture(1, 0)
    big, small = fakes.face(image, share=0.4), fakes.face(image, share=0.19)
    assert has_main_face([big, small], LIMITS)
    assert not has_main_face([big, replace(small, box=big.box)], LIMITS)
    assert has_main_face([big], LIMITS)


def test_one_bad_part_cannot_be_bought_back(astronaut: Image, astronaut_face: Face) -> None:
    blurred = judge(selfies.blurred(astronaut, 0.05), astronaut_face, 10, LIMITS)
    assert blurred.sharpness == 0
    assert blurred.total < 0.6
    assert np.isfinite(blurred.total)


def test_every_code_has_a_tip_to_act_on() -> None:
    assert set(TIPS) > RESERVE
    for code in TIPS:
        assert reason_for(code).tip.endswith(".")
        assert len(reason_for(code).tip.split()) >= 5
