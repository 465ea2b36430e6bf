import numpy as np
import pytest

from portrait.arrays import Points
from portrait.faces.mesh import MESH_POINTS, REGIONS
from portrait.fusion.warp import (
    MIRROR,
    fit_similarity,
    interpolate_points,
    longitude,
    match_pose,
    point_visibility,
    pull_in_silhouette,
    region_mask,
    shrink_with_mesh,
    symmetrize,
    thin_plate_spline,
    upsample_grid,
    warp_image,
)
from portrait.images.resize import resize
from portrait.types import Face


def turn(yaw: float, roll: float = 0.0) -> np.ndarray:
    yaw, roll = np.radians((yaw, roll))
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return about_z @ about_y


@pytest.fixture
def head() -> Points:
    """A made mesh: both halves alike, half an ellipsoid."""
    chance = np.random.default_rng(0)
    points = chance.uniform(-1, 1, (MESH_POINTS, 2)) * (60, 80)
    points[np.equal(MIRROR, np.arange(MESH_POINTS)), 0] = 0
    points[33] = (-40, -20)
    left = np.flatnonzero(np.greater(MIRROR, np.arange(MESH_POINTS)))
    points[left, 0] = -np.abs(points[left, 0]) - 1
    points[MIRROR[left]] = points[left] * (-1, 1)
    depth = -50 * np.sqrt(np.clip(1 - (points[:, 0] / 65) ** 2 - (points[:, 1] / 90) ** 2, 0, 1))
    return np.column_stack([points, depth]).astype(np.float32)


def test_a_mirror_of_a_mirror_is_the_same_point() -> None:
    assert (MIRROR[MIRROR] == np.arange(MESH_POINTS)).all()
    assert MIRROR[33] == 263
    assert MIRROR[61] == 291
    assert MIRROR[1] == 1


def test_a_turn_and_a_scale_are_found_again(head: Points) -> None:
    moved = 1.7 * head @ turn(25, 10).T + (3, 4, 5)
    fit = fit_similarity(head, moved, np.ones(MESH_POINTS))
    assert fit.scale == pytest.approx(1.7)
    assert np.abs(fit(head) - moved).max() < 1e-3


def test_laying_over_never_mirrors(head: Points) -> None:
    fit = fit_similarity(head, head * (-1, 1, 1), np.ones(MESH_POINTS))
    assert np.linalg.det(fit.rotation) == pytest.approx(1)


def test_halves_that_are_alike_stay_alike_however_the_head_is_turned(head: Points) -> None:
    turned = (head @ turn(30, 5).T).astype(np.float32)
    assert np.abs(symmetrize(turned, 1.0) - turned).max() < 0.05


def test_a_turned_person_is_posed_frontally(head: Points) -> None:
    turned = (2 * head @ turn(-35).T + (500, 300, 0)).astype(np.float32)
    assert np.abs(match_pose(turned, head, -35, 0.0) - head).max() < 0.1


def test_the_outline_follows_the_model_and_the_middle_stays_the_persons(head: Points) -> None:
    oval = list(REGIONS["oval"][0])
    wide = head.copy()
    wide[oval, 0] *= 1.2
    own, led = match_pose(wide, head, 0, 0.0), match_pose(wide, head, 0, 1.0)
    assert np.abs(led - head)[oval, 0].sum() < 0.5 * np.abs(own - head)[oval, 0].sum()
    apart = np.linalg.norm(own[:, None, :2] - own[None, oval, :2], axis=2).min(axis=1)
    assert np.abs(led - own)[apart > 30].max() < np.abs(led - own).max() / 4


def test_longitude_runs_from_left_to_right_for_every_head_pose(head: Points) -> None:
    for yaw in (-40, 0, 40):
        along = longitude((head @ turn(yaw).T).astype(np.float32))
        assert along[33] < -20
        assert along[263] > 20
        assert abs(along[1]) < 2


def test_all_of_a_frontal_face_is_visible_and_half_of_a_profile(head: Points) -> None:
    assert point_visibility(head, 0).min() == 1
    left, right = (
        point_visibility(head, 45),
        point_visibility(head, -45),
    )  # the nose to the right shows the left of the face
    assert left[33] == right[263] == 1
    assert left[263] == right[33] == 0


def test_only_a_profile_is_tucked_in(head: Points) -> None:
    assert (pull_in_silhouette(head, 10) == head).all()
    moved = pull_in_silhouette(head, -48) - head
    assert moved[1, 0] > 1  # the nose, away from the silhouette on its left


def test_a_thin_plate_brings_points_where_they_belong(head: Points) -> None:
    target = head + np.array([100, 100, 0], np.float32)
    source = head * 2 + np.array([300, 300, 0], np.float32)
    (grid,) = thin_plate_spline(target, [source], (200, 200))
    field = upsample_grid(grid, (200, 200))
    for point in (1, 33, 263, 61):
        x, y = target[point, :2]
        assert np.abs(field[round(float(y)), round(float(x))] - source[point, :2]).max() < 3
    steps = np.gradient(field[30:170, 50:150], axis=(0, 1))
    folded = steps[1][..., 0] * steps[0][..., 1] - steps[1][..., 1] * steps[0][..., 0]
    assert folded.min() > 0


def test_the_map_onto_itself_changes_nothing(head: Points) -> None:
    rows, columns = np.mgrid[:90, :120]
    image = np.dstack([rows * 2, columns * 2, rows + columns]).astype(np.uint8)
    points = head * 0.4 + np.array([60, 45, 0], np.float32)
    (grid,) = thin_plate_spline(points, [points], (90, 120))
    warped = warp_image(image, upsample_grid(grid, (90, 120)))
    assert np.abs(warped[10:80, 30:90].astype(int) - image[10:80, 30:90]).mean() < 1


def test_values_are_interpolated_about_their_points(head: Points) -> None:
    points = head + np.array([100, 100, 0], np.float32)
    mask = interpolate_points((head[:, 0] < 0).astype(float), points, (200, 200), 8)
    assert mask.shape == (200, 200)
    assert mask[100, 60] > 0.95
    assert mask[100, 140] < 0.05


def test_a_picture_shrinks_with_its_mesh(head: Points) -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    image[120:124, 60:64] = 255
    mesh = head.copy()
    mesh[0] = (61.5, 121.5, 8)
    small, points = shrink_with_mesh(image, mesh, 0.5)
    y, x = np.argwhere(small[..., 0] == 255).mean(axis=0)
    assert points[0] == pytest.approx((x, y, 4))
    assert shrink_with_mesh(image, mesh, 3.0)[0].shape == image.shape


def test_masks_and_pictures_are_resized() -> None:
    mask = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    assert resize(mask, (8, 8)) is mask
    assert resize(mask, (16, 24)).shape == (16, 24)
    assert resize(mask, (4, 4)).mean() == pytest.approx(mask.mean(), abs=0.01)


def test_the_regions_of_a_real_face_lie_in_one_another(astronaut_face: Face) -> None:
    mesh = astronaut_face.mesh
    assert mesh is not None
    oval, lips, mouth, eyes = (region_mask(mesh, name, (512, 512)) for name in ("oval", "lips", "mouth", "eyes"))
    assert (mouth <= lips + 0.51).all()
    assert eyes[oval < 0.5].max() < 0.5
    assert 0.02 < lips.sum() / oval.sum() < 0.12
    assert (
        region_mask(mesh, "lips", (512, 512), 3.0).sum()
        > lips.sum()
        > region_mask(mesh, "lips", (512, 512), -2.0).sum()
    )
