"""A person's glasses: taken off a photo and found again; whole portraits are in the painter's tests."""

import numpy as np
import pytest

from portrait.arrays import Image, Points
from portrait.fusion.blending import OWN_SKIN, analyze_target
from portrait.fusion.frames import put_on_glasses, take_off_glasses
from portrait.fusion.occluders import face_width, feature_mask
from portrait.types import Face
from tests import dressed, selfies


@pytest.fixture
def mesh(astronaut_face: Face) -> Points:
    assert astronaut_face.mesh is not None
    return astronaut_face.mesh[:468]


def test_a_photo_without_glasses_stays_as_it_is(astronaut: Image, mesh: Points) -> None:
    bare, frame = take_off_glasses(astronaut, mesh)
    assert frame is None
    assert bare is astronaut


@pytest.mark.parametrize("depth", [0.0, 0.8])
def test_glasses_are_taken_off_light_and_dark_skin(
    depth: float, astronaut: Image, astronaut_face: Face, mesh: Points
) -> None:
    skin = dressed.toned(astronaut, astronaut_face, depth) if depth else astronaut
    worn, drawn = selfies.glasses(skin, astronaut_face)
    bare, frame = take_off_glasses(worn, mesh)
    assert frame is not None
    near = feature_mask(mesh, (512, 512), 0.12, names="eyes") > 0.5
    assert (frame.mask[(drawn > 0.9) & near] > 0.5).mean() > 0.95
    away = 1 - feature_mask(mesh, (512, 512), 0.25, names="eyes")
    assert (frame.mask * away).sum() < 0.02 * face_width(mesh) ** 2
    gap = np.abs(bare.astype(int) - skin).max(axis=2)
    assert np.median(gap[(drawn > 0.9) & near]) < 30  # the frame itself is 100 and more away


def test_a_frame_that_is_put_on_its_own_face_lies_where_it_was(
    astronaut: Image, astronaut_face: Face, mesh: Points
) -> None:
    worn, drawn = selfies.glasses(astronaut, astronaut_face)
    bare, frame = take_off_glasses(worn, mesh)
    assert frame is not None
    again = put_on_glasses(bare, analyze_target(bare, mesh, OWN_SKIN), frame, mesh, mesh)
    near = feature_mask(mesh, (512, 512), 0.12, names="eyes") > 0.5
    assert np.percentile(np.abs(again.astype(int) - worn).max(axis=2)[(drawn > 0.9) & near], 95) < 25
