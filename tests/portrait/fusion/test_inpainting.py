"""Windows that are drawn at a base's own size, masks of what each pass may draw, and how a drawing comes back."""

import cv2
import numpy as np
import pytest

from portrait.arrays import Mask, Region, Size
from portrait.faces.geometry import transform_points
from portrait.fusion import inpainting
from portrait.fusion.inpainting import GROWN, ROOM, Window, blend_back, pass_areas, window_around_faces
from portrait.types import Box, Face, Pose

SIDE = 300


def oval(centre: tuple[float, float], axes: tuple[float, float]) -> Mask:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(mask, (centre, (2 * axes[0], 2 * axes[1]), 0), 255, -1, cv2.LINE_AA)
    return (mask / 255).astype(np.float32)


@pytest.fixture(scope="module")
def face() -> Face:
    five = np.array([[125, 130], [175, 130], [150, 160], [130, 180], [170, 180]], np.float32)
    return Face(Box(100, 90, 200, 210), five, None, {}, Pose(0, 0, 0), 1.0)


@pytest.fixture(scope="module")
def regions() -> dict[Region, Mask]:
    eyes = np.maximum(oval((125, 130), (10, 5)), oval((175, 130), (10, 5)))
    lips = oval((150, 180), (18, 6))
    skin = oval((150, 150), (50, 60)) * (1 - eyes) * (1 - lips)
    return {"eyes": eyes, "lips": lips, "skin": skin.astype(np.float32)}


# --- Windows ---------------------------------------------------------------------------------------------------------


def test_a_window_is_three_faces_wide_and_drawn_at_the_size_of_the_base() -> None:
    window = window_around_faces([Box(900, 800, 1000, 920)], Size(3000, 2000), 512, 64)
    assert window.shape == (360, 360)
    assert window.shape[0] == ROOM * 120
    assert window.size == Size(512, 512)
    assert ((window.left + window.right) / 2, (window.top + window.bottom) / 2) == (950, 860)


def test_a_window_at_the_edge_is_shifted_into_the_picture() -> None:
    window = window_around_faces([Box(0, 0, 100, 120)], Size(3000, 2000), 512, 64)
    assert (window.left, window.top, window.shape) == (0, 0, (360, 360))
    other = window_around_faces([Box(2900, 1880, 3000, 2000)], Size(3000, 2000), 512, 64)
    assert (other.right, other.bottom) == (3000, 2000)


@pytest.mark.parametrize("picture", [Size(150, 3000), Size(3000, 150), Size(120, 130), Size(64, 64)])
@pytest.mark.parametrize(("side", "step"), [(64, 8), (512, 64), (1024, 64)])
def test_a_picture_smaller_than_the_window_is_drawn_as_far_as_it_goes(picture: Size, side: int, step: int) -> None:
    box = Box(10, 20, min(110, picture.width), min(130, picture.height))
    window = window_around_faces([box], picture, side, step)
    assert 0 <= window.left < window.right <= picture.width
    assert 0 <= window.top < window.bottom <= picture.height
    for drawn in (window.size.width, window.size.height):
        assert drawn % step == 0
        assert step <= drawn <= 1.34 * side


def test_a_window_about_two_people_holds_both_and_is_never_a_strip() -> None:
    one, two = Box(100, 900, 200, 1020), Box(900, 910, 1000, 1030)
    window = window_around_faces([one, two], Size(2000, 2000), 512, 64)
    assert window.left <= 100
    assert window.right >= 1000
    assert 0.5 <= window.shape[0] / window.shape[1] <= 2


def test_points_go_where_pixels_go() -> None:
    window = Window(40, 20, 140, 220, Size(50, 100))
    image = np.zeros((300, 300, 3), np.uint8)
    image[100:102, 80:82] = 255
    drawn = window.resize_for_drawing(image[window.slices])
    assert drawn.shape == (100, 50, 3)
    y, x = np.argwhere(drawn[..., 0] > 200)[0]
    assert transform_points(np.array([[80.5, 100.5]], np.float32), window.picture_to_drawing())[0] == pytest.approx(
        (x, y)
    )
    assert transform_points(np.array([[80.5, 100.5]], np.float32), window.picture_to_window())[0] == pytest.approx(
        (40.5, 80.5)
    )


def test_a_window_as_large_as_its_drawing_changes_no_pixel() -> None:
    window = Window(0, 0, 64, 64, Size(64, 64))
    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    assert (window.resize_for_drawing(image) == image).all()
    assert np.allclose(window.resize_for_picture(image / 255), image, atol=1e-3)


def test_the_network_may_draw_wherever_something_is_taken() -> None:
    window = Window(0, 0, 300, 300, Size(64, 64))
    share = oval((150, 150), (60, 40))
    may = window.drawing_mask(share)
    assert set(np.unique(may)) == {0.0, 1.0}
    grown = cv2.resize(may, (300, 300), interpolation=cv2.INTER_LINEAR)
    assert (grown[share > 0] > 0).all()


# --- Masks -----------------------------------------------------------------------------------------------------------


def test_the_first_drawing_reaches_a_tenth_of_the_face_beyond_it(regions: dict[Region, Mask], face: Face) -> None:
    found = pass_areas(regions, face, 0.5)
    row = found.face[150]
    assert row[150] == row[188] == 1
    assert 0.4 < row[200] < 0.6
    assert row[int(200 + GROWN * 100) + 2] == 0
    assert (np.diff(row[188:214]) <= 0).all()


def test_the_second_follows_the_border_on_both_sides_and_takes_eyes_and_mouth(
    regions: dict[Region, Mask], face: Face
) -> None:
    found = pass_areas(regions, face, 0.5)
    assert found.boundary[150, 202] > 0.9  # beyond the face
    assert found.boundary[150, 193] > 0.4  # inside
    assert found.boundary[150, 150] == found.boundary[110, 150] == 0
    assert found.boundary[130, 125] == found.boundary[180, 150] == 1
    assert found.border[130, 125] == 0
    assert found.boundary[150, 221] == 0


def test_the_second_fusion_gives_eyes_and_no_lips(regions: dict[Region, Mask], face: Face) -> None:
    found = pass_areas(regions, face, 0.5)
    assert found.fused[130, 125] == 1
    assert found.fused[180, 150] == 0
    assert found.fused[150, 150] == pytest.approx(0.5)
    assert found.fused[150, 201] == 0
    assert (found.fused[regions["skin"] == 0][found.face[regions["skin"] == 0] == 0] == 0).all()


def test_masks_lie_within_the_drawn_area(regions: dict[Region, Mask], face: Face) -> None:
    found = pass_areas(regions, face, 1.0)
    assert (found.skin[found.face == 0] == 0).all()
    assert (found.fused[found.face == 0] == 0).all()


def test_strands_across_a_face_belong_to_it(regions: dict[Region, Mask], face: Face) -> None:
    crossed = dict(regions)
    crossed["skin"] = regions["skin"].copy()
    crossed["skin"][140:150, 110:190] = 0
    assert pass_areas(crossed, face, 0.5).face[145, 150] == 1


def test_a_hidden_face_is_not_drawn(regions: dict[Region, Mask], face: Face) -> None:
    empty: dict[Region, Mask] = {name: np.zeros_like(mask) for name, mask in regions.items()}
    found = pass_areas(empty, face, 0.5)
    assert not any(mask.any() for mask in (found.face, found.boundary, found.skin, found.fused))


# --- Back ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def start() -> np.ndarray:
    return np.random.default_rng(2).integers(20, 235, (SIDE, SIDE, 3), np.uint8)


def test_nothing_changes_where_nothing_is_taken(start: np.ndarray) -> None:
    share = oval((150, 150), (60, 60))
    drawn = np.full(start.shape, 30.0, np.float32)
    out = blend_back(start, drawn, start.astype(np.float32), share)
    assert (out[share == 0] == start[share == 0]).all()
    assert (out[share == 1] == 30).all()


def test_what_the_network_loses_is_no_drawing_at_the_edge(start: np.ndarray) -> None:
    """It gives everything back duller and smoother; at a share of a tenth a hundredth of that is seen."""
    share = np.full((SIDE, SIDE), 0.1, np.float32)
    round_trip = cv2.GaussianBlur(start.astype(np.float32), (0, 0), 2) * 0.9
    out = blend_back(start, round_trip, round_trip, share).astype(float)
    lost = np.abs(round_trip - start).mean()
    assert np.abs(out - start).mean() < 0.02 * lost
    plain = start + (round_trip - start) * 0.1
    assert np.abs(plain - start).mean() > 0.09 * lost


def test_a_change_beside_that_is_taken(start: np.ndarray) -> None:
    share = np.full((SIDE, SIDE), 0.5, np.float32)
    round_trip = start * np.float32(0.9)
    out = blend_back(start, round_trip + 20, round_trip, share).astype(float)
    expected = start + 0.5 * 20 - 0.25 * 0.1 * start.astype(float)
    assert np.abs(out - expected).max() < 1.01


def test_the_numbers_are_in_order() -> None:
    assert 0 < GROWN < inpainting.BOUNDARY[1]
    assert inpainting.BOUNDARY[0] < 0
