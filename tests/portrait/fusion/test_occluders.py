import cv2
import numpy as np
import pytest

from portrait.arrays import Image
from portrait.fusion.occluders import (
    along_face,
    face_width,
    feature_mask,
    front_mask,
    hair_over_brows,
    lens_mask,
    occlusion_mask,
    skin_color_distance,
    split_glasses,
    split_hidden,
    with_glasses,
)
from portrait.fusion.warp import region_mask
from portrait.images.color import from_lab, from_linear, to_linear
from portrait.images.filters import masked_low_pass
from portrait.types import Face
from tests import dressed, selfies


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


def test_a_cheek_in_orange_shade_is_skin_and_the_fringe_is_not(astronaut: Image, astronaut_face: Face) -> None:
    mesh = astronaut_face.mesh
    assert mesh is not None
    width = face_width(mesh)
    beside = region_mask(mesh, "oval", (512, 512)) - region_mask(mesh, "oval", (512, 512), -0.16 * width)
    down = along_face(mesh, (512, 512))
    shade = cv2.GaussianBlur(beside * ((down > 0.05) & (down < 0.45)), (0, 0), 0.02 * width)[..., None]
    shaded = from_linear(to_linear(astronaut) * np.array([0.6, 0.3, 0.15], np.float32) ** shade)
    cheek = (shade[..., 0] > 0.85) & (region_mask(mesh, "oval", (512, 512), -0.03 * width) > 0.5)
    assert occlusion_mask(shaded, mesh)[cheek].mean() > 0.9
    assert front_mask(shaded, mesh)[cheek].mean() < 0.25
    x, y = (int(value) for value in mesh[10, :2])
    assert front_mask(shaded, mesh)[y : y + 8, x - 10 : x + 11].mean() > 0.8


def test_a_fringe_is_in_front_of_dark_skin_too(astronaut: Image, astronaut_face: Face) -> None:
    mesh = astronaut_face.mesh
    assert mesh is not None
    dark = dressed.toned(astronaut, astronaut_face, 0.8)
    x, y = (int(value) for value in mesh[10, :2])
    fringe = slice(y, y + 8), slice(x - 10, x + 11)
    odd = skin_color_distance(dark, mesh, own_skin=True)
    assert occlusion_mask(dark, mesh)[fringe].mean() < 0.6
    assert front_mask(dark, mesh, odd)[fringe].mean() > 0.8
    for cheek in (50, 280):
        assert odd[tuple(int(value) for value in mesh[cheek, 1::-1])] < 1


def test_an_overexposed_forehead_is_no_hair(group_faces: list[Face]) -> None:
    face = group_faces[2]
    assert face.mesh is not None
    left, top = int(face.box.left) - 60, int(face.box.top) - 60
    part = selfies.lit(np.ascontiguousarray(selfies.group()[top : top + 260, left : left + 260]), 0.45)
    mesh = face.mesh[:468] - np.array([left, top, 0], np.float32)
    shape, width = part.shape[:2], face_width(mesh)
    down, inner = along_face(mesh, shape), region_mask(mesh, "oval", shape, -0.12 * width) > 0.5
    forehead = inner & (down < -0.2)
    hidden = [split_hidden(part, mesh, skin_color_distance(part, mesh, own), own)[0] for own in (False, True)]
    assert hidden[0][forehead].mean() > 0.2
    assert hidden[1][forehead].mean() < 0.05


def test_a_nose_below_sunglasses_is_not_in_front(group_faces: list[Face]) -> None:
    face = group_faces[0]
    assert face.mesh is not None
    whole, glass = dressed.sunglasses(selfies.group(), face)
    left, top = max(0, int(face.box.left) - 60), int(face.box.top) - 60
    part = np.ascontiguousarray(whole[top : top + 280, left : left + 280])
    mesh = face.mesh[:468] - np.array([left, top, 0], np.float32)
    front = front_mask(part, mesh, skin_color_distance(part, mesh, own_skin=True))
    worn = with_glasses(front, lens_mask(part, mesh), mesh)
    nose = feature_mask(mesh, (280, 280), 0.04, names="nostrils") > 0.5
    nose &= along_face(mesh, (280, 280)) > 0.2
    assert worn[nose & (glass[top : top + 280, left : left + 280] < 0.01)].mean() < 0.2
    assert worn[glass[top : top + 280, left : left + 280] > 0.9].mean() > 0.9


def test_hair_over_a_brows_end_is_told_from_the_brow(astronaut: Image, astronaut_face: Face) -> None:
    mesh = astronaut_face.mesh
    assert mesh is not None
    outer, inner = mesh[300, 0], mesh[285, 0]
    beyond = np.broadcast_to(np.arange(512)[None] > inner + 0.75 * (outer - inner), (512, 512))
    hair, brow = beyond.astype(np.float32), region_mask(mesh, "brows", (512, 512)) > 0.5
    hair = hair * (np.arange(512)[None] < outer + 20) * (np.abs(np.arange(512) - mesh[300, 1]) < 30)[:, None]
    lighter = np.where(hair[..., None] > 0, np.array([244, 196, 150], np.uint8), astronaut)
    found = hair_over_brows(lighter, mesh, hair)
    assert found[brow & (np.arange(512)[None] > inner + 0.9 * (outer - inner))].mean() > 0.8
    assert found[brow & (np.arange(512)[None] < inner + 0.5 * (outer - inner))].max() < 0.05
    assert not hair_over_brows(astronaut, mesh, hair).any(), "what is as dark is the brow"
    above = hair * (np.arange(512) < mesh[300, 1] - 5)[:, None]
    assert not hair_over_brows(lighter, mesh, above).any(), "what ends above it is no hair over it"


def test_hair_inside_the_outline_is_no_skin_on_a_brown_face_either(astronaut_face: Face) -> None:
    """Of a turned head, whose outline the mesh guesses: hair there is taken for the shade of skin, if for anything."""
    mesh = astronaut_face.mesh
    assert mesh is not None
    shape, width = (512, 512), face_width(mesh)
    lab = np.empty((512, 512, 3), np.float32)
    lab[:] = 58, 14, 27
    across = np.broadcast_to((np.arange(512)[None] - mesh[:468, 0].min()) / width, shape)
    lab[across > 0.72] = 44, 26, 37
    nose = (np.abs(across - 0.5) < 0.03) & (np.abs(along_face(mesh, shape) - 0.25) < 0.2)
    lab[nose] = 47, 24, 34
    odd = skin_color_distance(from_lab(lab), mesh, own_skin=True, hair=True)
    level = np.abs(along_face(mesh, shape) - 0.2) < 0.2
    assert odd[level & (across > 0.76) & (across < 0.9)].min() > 1.1
    assert odd[level & (across > 0.58) & (across < 0.68)].max() < 0.8
    assert np.median(odd[nose]) < 1.6, "the shade of a nose is skin"
