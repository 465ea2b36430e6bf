import math

import cv2
import numpy as np
import pytest

from portrait.arrays import Points, Size
from portrait.faces.geometry import (
    RotatedRect,
    bounding_box,
    crop,
    fit_inside,
    head_and_shoulders_rect,
    invert,
    pose_from_landmarks,
    pose_from_mesh,
    scaling_matrix,
    transform_face,
    transform_points,
)
from portrait.types import Face, Pose
from tests import fakes


def test_crop_shows_what_the_frame_holds() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 90:110] = (255, 0, 0)
    cut = crop(image, RotatedRect((100, 50), 20, 20, 0), Size(40, 40))
    assert cut.shape == (40, 40, 3)
    assert (cut[4:-4, 4:-4] == (255, 0, 0)).all()


@pytest.mark.parametrize("roll", [-30, 15, 90])
def test_crop_levels_a_tilted_line(roll: float) -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    reach = 100 * np.array([math.cos(math.radians(roll)), math.sin(math.radians(roll))])
    start, end = (np.array([150, 150]) - reach).astype(int), (np.array([150, 150]) + reach).astype(int)
    cv2.line(image, tuple(map(int, start)), tuple(map(int, end)), (255, 255, 255), 3)
    cut = crop(image, RotatedRect((150, 150), 160, 60, roll), Size(160, 60))
    rows = np.flatnonzero(cut[..., 0].max(axis=1) > 128)
    assert rows.size > 0
    assert abs(rows.mean() - 30) <= 1.5
    assert np.ptp(rows) <= 5


def test_points_move_with_the_crop_and_back() -> None:
    frame = RotatedRect((70, 40), 50, 80, 20)
    matrix = frame.matrix_to(Size(100, 160))
    points = np.array([[70, 40, 3], [60, 50, -2]], np.float32)
    moved = transform_points(points, matrix)
    assert moved[0, :2] == pytest.approx((50, 80), abs=1e-3)
    assert moved[0, 2] == pytest.approx(6, abs=1e-3)
    assert transform_points(moved, invert(matrix)) == pytest.approx(points, abs=1e-3)


def test_shrinking_does_not_alias() -> None:
    fine = np.zeros((1024, 1024, 3), np.uint8)
    fine[::2] = 255
    cut = crop(fine, RotatedRect((512, 512), 1000, 1000, 0), Size(64, 64))
    assert np.ptp(cut[2:-2, 2:-2]) <= 12


def test_face_moves_into_a_levelled_crop_with_its_roll_taken_off() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    tilted = fakes.face(image, pose=Pose(5, 3, 25))
    frame = head_and_shoulders_rect(tilted)
    moved = transform_face(tilted, frame.matrix_to(Size(520, 560)))
    assert moved.pose.roll == pytest.approx(0, abs=1e-3)
    assert (moved.pose.yaw, moved.pose.pitch) == (5, 3)
    assert transform_face(tilted, scaling_matrix(2)).box.width == pytest.approx(2 * tilted.box.width)


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        (RotatedRect((10, 10), 80, 80, 0), Size(200, 200)),
        (RotatedRect((190, 100), 300, 360, 0), Size(200, 200)),
        (RotatedRect((100, 100), 150, 150, 30), Size(200, 200)),
        (RotatedRect((100, 100), 150, 150, 80), Size(200, 120)),
        (RotatedRect((500, 20), 90, 90, -12), Size(1000, 60)),
    ],
)
def test_fit_stays_inside_and_keeps_the_roll(frame: RotatedRect, size: Size) -> None:
    inside = fit_inside(frame, size)
    corners = inside.corners()
    assert corners.min() >= -1e-6
    assert corners[:, 0].max() <= size.width + 1e-6
    assert corners[:, 1].max() <= size.height + 1e-6
    assert inside.roll == frame.roll
    assert inside.width > 20
    assert inside.height > 20


def test_fit_leaves_alone_what_fits() -> None:
    frame = RotatedRect((100, 100), 80, 90, 10)
    assert fit_inside(frame, Size(200, 200)) == frame


def _head(yaw: float, pitch: float, roll: float) -> tuple[Points, Points]:
    """Mesh-like and five landmarks of a plain head, turned."""
    mesh = np.zeros((478, 3))
    mesh[[33, 263, 10, 152, 1, 61, 291]] = [
        (-32, 0, 24),
        (32, 0, 24),
        (0, -60, 20),
        (0, 100, 20),
        (0, 38, 0),
        (-25, 68, 18),
        (25, 68, 18),
    ]
    mesh[133], mesh[362] = mesh[33], mesh[263]
    y, p, r = (math.radians(each) for each in (yaw, pitch, roll))
    about_y = np.array([[math.cos(y), 0, -math.sin(y)], [0, 1, 0], [math.sin(y), 0, math.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    turned = (mesh @ (about_z @ about_x @ about_y).T).astype(np.float32)
    return turned, turned[[33, 263, 1, 61, 291], :2]


@pytest.mark.parametrize("yaw", [-40, 0, 25])
@pytest.mark.parametrize("roll", [-20, 0, 30])
def test_pose_is_read_from_mesh_and_landmarks(yaw: float, roll: float) -> None:
    mesh, five = _head(yaw, 0, roll)
    from_mesh, from_five = pose_from_mesh(mesh), pose_from_landmarks(five)
    assert from_mesh.yaw == pytest.approx(yaw, abs=2)
    assert from_mesh.roll == pytest.approx(roll, abs=2)
    assert from_five.yaw == pytest.approx(yaw, abs=6)
    assert from_five.roll == pytest.approx(roll, abs=6)
    # The nose tells the truth about the signs: to the right of the eyes' middle for positive yaw.
    nose = five[2, 0] - five[:2, 0].mean()
    if roll == 0 and yaw:
        assert np.sign(nose) == np.sign(yaw)


@pytest.mark.parametrize("pitch", [-25, 25])
def test_pitch_is_positive_with_the_chin_down(pitch: float) -> None:
    mesh, five = _head(0, pitch, 0)
    assert pose_from_mesh(mesh).pitch == pytest.approx(pitch - 8, abs=2)
    assert pose_from_landmarks(five).pitch == pytest.approx(pitch, abs=12)


def test_bounding_box_holds_the_points() -> None:
    box = bounding_box(np.array([[3, 4], [10, 2], [5, 9]], np.float32))
    assert (box.left, box.top, box.right, box.bottom) == (3, 2, 10, 9)


def test_real_face_reads_as_level_and_frontal(astronaut_face: Face) -> None:
    assert abs(astronaut_face.pose.yaw) < 5
    assert abs(astronaut_face.pose.pitch) < 8
    five = pose_from_landmarks(astronaut_face.landmarks)
    assert abs(five.yaw) < 10
