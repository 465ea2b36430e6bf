from dataclasses import replace

import cv2
import numpy as np
import pytest

from portrait.arrays import Image
from portrait.idphoto_rules import (
    LIMITS,
    TIPS,
    UNITS,
    check_rule,
    judge_eyes_and_light,
    judge_photo,
    measure_face_shadow,
)
from portrait.idphotos import Range
from portrait.types import Face, Pose
from tests.framed_selfies import sunglasses
from tests.portrait.test_idphotos import HEAD, face_at


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


def test_every_rule_has_a_limit_a_unit_and_a_tip() -> None:
    assert set(LIMITS) == set(TIPS) == set(UNITS)
    assert check_rule("x", 2.0, Range(1, 3), "mm", "mend it").tip == ""
    assert check_rule("x", 4.0, Range(1, 3), "mm", "mend it").tip == "mend it"


def shaded(image: Image, face: Face, stops: float) -> Image:
    """One side of the picture darker by `stops`, with a soft edge along the nose."""
    columns = np.arange(image.shape[1]) - face.landmarks[2, 0]
    share = 1 / (1 + np.exp(-columns / (0.03 * face.box.width)))
    light = (image / 255.0) ** 2.2 * (2.0 ** (-stops * share))[None, :, None]
    return np.asarray(light ** (1 / 2.2) * 255, np.uint8)


@pytest.mark.parametrize("lightness", [1.0, 0.6])
def test_a_shadow_on_one_side_of_the_face_is_measured_whatever_the_skin(
    astronaut: Image, astronaut_face: Face, lightness: float
) -> None:
    image = np.asarray(astronaut * lightness, np.uint8)
    plain = measure_face_shadow(image, astronaut_face)
    assert plain < 0.7
    worse = measure_face_shadow(shaded(image, astronaut_face, 1.5), astronaut_face)
    assert worse == pytest.approx(abs(plain - 1.5), abs=0.4) or worse == pytest.approx(plain + 1.5, abs=0.4)


def test_sunglasses_break_a_rule(astronaut: Image, astronaut_face: Face) -> None:
    def broken(image: Image) -> set[str]:
        return {each.name for each in judge_eyes_and_light(image, astronaut_face) if not each.ok}

    assert broken(astronaut) == set()
    large = cv2.resize(sunglasses(astronaut, astronaut_face), astronaut.shape[1::-1])
    assert broken(np.asarray(large, np.uint8)) == {"sunglasses"}
