"""Poses on real photos: joints stand where a person looking at the photo puts them."""

import cv2
import numpy as np
import pytest

from pipelines.engines import Engines
from pipelines.engines.controls.pose import OpenPose, make
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.generation.openpose import JOINTS, Skeleton
from tests import selfies


@pytest.fixture(scope="module")
def control(engines: Engines, settings: Settings) -> OpenPose:
    return make(settings, ModelStore(settings.models), engines)


def joint(person: Skeleton, name: str) -> tuple[float, float]:
    x, y = person.joints[JOINTS.index(name)]
    return float(x), float(y)


def test_shoulders_and_arms_of_one_person_stand_where_they_are(control: OpenPose, astronaut: Image) -> None:
    (person,) = control.detect(astronaut)
    truth = {
        "nose": ((222, 131), 8),
        "right eye": ((203, 101), 6),
        "left eye": ((246, 103), 6),
        "right shoulder": ((95, 235), 30),
        "left shoulder": ((318, 245), 30),
        "right elbow": ((60, 400), 50),
    }
    for name, (place, within) in truth.items():
        assert np.hypot(*np.subtract(joint(person, name), place)) < within, name
    assert len(person.face) == 70
    assert np.isnan(joint(person, "left ankle")).all()


def test_the_figure_has_limbs_in_its_colours_on_black(control: OpenPose, astronaut: Image) -> None:
    drawn = control.process(astronaut)
    assert drawn.shape == astronaut.shape
    assert 0.01 < drawn.any(axis=2).mean() < 0.2
    colours = {tuple(each) for each in drawn.reshape(-1, 3)}
    assert {(255, 255, 255), (153, 0, 0), (153, 51, 0), (255, 85, 0)} <= colours


def test_everybody_in_a_group_is_drawn_with_their_own_shoulders(control: OpenPose) -> None:
    people = control.detect(selfies.group())
    assert len(people) == 6
    with_body = [person for person in people if not np.isnan(joint(person, "neck")).any()]
    assert len(with_body) >= 4
    for person in with_body:
        nose, neck = joint(person, "nose"), joint(person, "neck")
        right, left = joint(person, "right shoulder"), joint(person, "left shoulder")
        assert right[0] < left[0], "they face the camera"
        assert right[0] - 20 < nose[0] < left[0] + 20
        assert 0 < neck[1] - nose[1] < 130
    necks = [joint(person, "neck")[0] for person in with_body]
    assert min(abs(one - other) for at, one in enumerate(necks) for other in necks[:at]) > 100


def test_a_pose_is_the_same_in_a_larger_picture(control: OpenPose, astronaut: Image) -> None:
    large = np.asarray(cv2.resize(astronaut, (1024, 1024), interpolation=cv2.INTER_CUBIC), np.uint8)
    (one,), (other,) = control.detect(astronaut), control.detect(large)
    for name in ("right shoulder", "left shoulder", "right elbow"):
        assert np.hypot(*(np.subtract(joint(other, name), np.multiply(joint(one, name), 2)))) < 40


def test_a_picture_without_people_is_refused(control: OpenPose) -> None:
    with pytest.raises(UserError, match="Nobody is seen") as caught:
        control.process(np.full((200, 200, 3), 128, np.uint8))
    assert caught.value.code == "no_pose"
