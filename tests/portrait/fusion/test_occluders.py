import cv2
import numpy as np
import pytest

from portrait.arrays import Image
from portrait.fusion.occluders import face_width, feature_mask, occlusion_mask, skin_color_distance, split_glasses
from portrait.fusion.warp import region_mask
from portrait.images.filters import masked_low_pass
from portrait.types import Face
from tests import selfies


def test_a_masked_mean_ignores_what_is_masked() -> None:
    values = np.full((80, 80, 1), 10, np.float32)
    values[:, 40:] = 90
    mask = np.zeros((80, 80), np.float32)
    mask[:, :40] = 1
    assert masked_low_pass(values, mask, 6) == pytest.approx(10, abs=0.1)


def test_a_masked_mean_follows_slow_changes_and_not_fast_ones() -> None:
    slow = np.linspace(0, 100, 200, dtype=np.float32)[None, :, None].repeat(200, axis=0)
    fast = np.where(np.arange(200) % 2, 5, -5).astype(np.float32)[None, :, None]
    mean = masked_low_pass(slow + fast, np.ones((200, 200), np.float32), 8)
    assert np.abs(mean - slow)[40:160, 40:160].max() < 2


def test_a_masked_mean_of_nothing_is_finite() -> None:
    assert np.isfinite(masked_low_pass(np.ones((20, 20, 2), np.float32), np.zeros((20, 20), np.float32), 5)).all()


def test_the_fringe_is_in_front_and_the_cheeks_are_not(astronaut: Image, astronaut_face: Face) -> None:
    mesh = astronaut_face.mesh
    assert mesh is not None
    front, odd = occlusion_mask(astronaut, mesh), skin_color_distance(astronaut, mesh)
    x, y = (int(value) for value in mesh[10, :2])
    assert front[y : y + 8, x - 10 : x + 11].mean() > 0.8
    for cheek in (50, 280, 152):
        at = tuple(int(value) for value in mesh[cheek, 1::-1])
        assert front[at] < 0.05
        assert odd[at] < 1
    assert front[feature_mask(mesh, (512, 512), 0.0) > 0.9].max() < 0.3


def test_a_mole_is_odd_but_not_in_front(astronaut: Image, astronaut_face: Face) -> None:
    mesh = astronaut_face.mesh
    assert mesh is not None
    spotted = astronaut.copy()
    x, y = (int(value) for value in mesh[50, :2])
    cv2.circle(spotted, (x, y), 3, (60, 35, 25), -1)
    assert skin_color_distance(spotted, mesh)[y, x] > 2
    assert occlusion_mask(spotted, mesh)[y, x] < 0.1


def test_glasses_are_separated_from_hair(astronaut: Image, astronaut_face: Face) -> None:
    mesh = astronaut_face.mesh
    assert mesh is not None
    hidden, glasses = split_glasses(astronaut, mesh, occlusion_mask(astronaut, mesh))
    assert glasses.max() == 0
    assert (hidden == occlusion_mask(astronaut, mesh)).all()
    dressed, frames = selfies.glasses(astronaut, astronaut_face)
    hidden, glasses = split_glasses(dressed, mesh, occlusion_mask(dressed, mesh))
    bare = 1 - feature_mask(mesh, (512, 512), 0.03, names="eyes brows")
    assert glasses[(frames * bare) > 0.9].mean() > 0.8
    assert hidden[(frames * bare) > 0.9].mean() < 0.2
    x, y = (int(value) for value in mesh[10, :2])
    assert hidden[y : y + 8, x - 10 : x + 11].mean() > 0.8  # the fringe


def test_features_grow_with_the_face(astronaut_face: Face) -> None:
    mesh = astronaut_face.mesh
    assert mesh is not None
    bare, wide = feature_mask(mesh, (512, 512), 0.0), feature_mask(mesh, (512, 512), 0.05)
    assert (wide >= bare).all()
    assert wide.sum() > 1.3 * bare.sum()
    assert face_width(mesh) == pytest.approx(astronaut_face.box.width, abs=1)
    assert (feature_mask(mesh, (512, 512), 0.0, names="lips") == region_mask(mesh, "lips", (512, 512))).all()
