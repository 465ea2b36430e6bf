"""Masks on drawn shapes whose answer is known."""

import cv2
import numpy as np
import pytest

from portrait.arrays import Image, Mask
from portrait.images.masks import (
    KNOWN_IN,
    KNOWN_OUT,
    UNKNOWN,
    composite,
    dilate,
    erode,
    estimate_foreground,
    face_size,
    guided_filter,
    keep_connected,
    separate_person,
    trimap,
)
from portrait.types import Box, Face, Pose


def face_at(x: float, y: float, size: float = 40) -> Face:
    half = size / 2
    eyes = [[x - half / 2, y - half / 4], [x + half / 2, y - half / 4]]
    rest = [[x, y], [x - half / 3, y + half / 2], [x + half / 3, y + half / 2]]
    box = Box(x - half, y - half, x + half, y + half)
    return Face(box, np.array([*eyes, *rest], np.float32), None, {}, Pose(0, 0, 0), 1.0)


def disc(radius: float, at: tuple[int, int] = (100, 100), side: int = 200) -> Mask:
    rows, columns = np.indices((side, side))
    return (np.hypot(rows - at[1], columns - at[0]) <= radius).astype(np.float32)


FACE = face_at(100, 100)


def test_face_size_is_steady_when_a_head_turns() -> None:
    turned = Face(Box(0, 0, 20, 40), FACE.landmarks, None, {}, FACE.pose, 1.0)
    assert face_size(FACE) == pytest.approx(40)
    assert face_size(turned) == pytest.approx(40 / np.sqrt(2))


@pytest.mark.parametrize("share", [0.05, 0.25, 0.6])
def test_discs_grow_and_shrink_by_a_share_of_the_face(share: float) -> None:
    radius = share * 40
    for moved, wanted in ((dilate(disc(50), FACE, share), 50 + radius), (erode(disc(50), FACE, share), 50 - radius)):
        assert np.sqrt(moved.sum() / np.pi) == pytest.approx(wanted, abs=1)
        assert set(np.unique(moved)) <= {0.0, 1.0}


def test_soft_masks_grow_without_being_cut() -> None:
    soft = np.asarray(cv2.GaussianBlur(disc(50), (0, 0), 4), np.float32)
    grown = dilate(soft, FACE, 0.1)
    assert (grown >= soft).all()
    assert len(np.unique(np.round(grown, 2))) > 20


def test_trimap_bands_may_differ_from_place_to_place() -> None:
    outer = np.where(np.indices((200, 200))[0] < 100, 20, 5).astype(np.float32)
    known = trimap(disc(50), 4.0, outer)
    up, down = known[:100, 100][::-1], known[100:, 100]
    assert (known[100, 60:140] == KNOWN_IN).all()
    assert (up[47:70] == UNKNOWN).all()
    assert (up[75:] == KNOWN_OUT).all()
    assert (down[57:] == KNOWN_OUT).all()
    assert (down[48:54] == UNKNOWN).all()


def test_only_what_hangs_together_with_the_face_stays() -> None:
    soft = np.asarray(cv2.GaussianBlur(disc(40) + disc(15, (180, 30)), (0, 0), 2), np.float32)
    own = keep_connected(soft, FACE)
    assert own[30, 180] == 0
    assert own[100, 100] == pytest.approx(1)
    edge = soft[100, 138:146]
    assert np.array_equal(own[100, 138:146], edge), "the soft edge is kept"
    assert keep_connected(np.zeros((200, 200), np.float32), FACE).sum() == 0


def test_neighbours_are_separated_along_the_edge_between_them() -> None:
    image = np.full((200, 300, 3), 220, np.uint8)
    image[60:, 20:150], image[60:, 150:280] = (160, 60, 50), (50, 70, 160)
    confidence = np.zeros((200, 300), np.float32)
    confidence[60:, 20:280] = 1
    own = separate_person(confidence, image, face_at(85, 90), [face_at(215, 90)])
    assert own[120, 90] == 1
    assert own[120, 210] == 0
    assert np.flatnonzero(own[160] > 0.5).max() == pytest.approx(150, abs=4)
    # OpenCV's random numbers go on from call to call; a recipe must give the same pixels.
    cv2.setRNGSeed(7)
    again = separate_person(confidence, image, face_at(85, 90), [face_at(215, 90)])
    assert np.array_equal(own, again)


def test_guided_filter_takes_its_edge_from_the_large_picture() -> None:
    large = np.full((400, 400, 3), 40, np.uint8)
    large[disc(150, (200, 200), 400) > 0] = (200, 170, 150)
    small = np.asarray(cv2.resize(large, (100, 100), interpolation=cv2.INTER_AREA), np.uint8)
    rough = np.asarray(cv2.GaussianBlur(disc(37, (50, 50), 100), (0, 0), 2), np.float32)
    fine = guided_filter(rough, small, large, 4, 1e-5)
    plain = np.asarray(cv2.resize(rough, (400, 400)), np.float32)
    truth = disc(150, (200, 200), 400)
    assert np.abs(fine - truth).mean() < np.abs(plain - truth).mean()
    soft = [((each > 0.25) & (each < 0.75)).sum() for each in (fine, plain)]
    assert soft[0] < 0.3 * soft[1]


def test_foreground_colours_are_free_of_the_old_background() -> None:
    alpha = np.asarray(cv2.GaussianBlur(disc(50), (0, 0), 5), np.float32)
    person, old = np.full((200, 200, 3), (90, 60, 40), np.uint8), np.full((200, 200, 3), (250, 250, 250), np.uint8)
    photo = composite(person, old, alpha)
    found = estimate_foreground(photo, alpha, 36)
    visible = (alpha > 0.1) & (alpha < 0.95)
    off = np.abs(found[visible].astype(int) - person[visible]).mean()
    assert np.abs(photo[visible].astype(int) - person[visible]).mean() > 60
    assert off < 6
    assert np.array_equal(found[alpha >= 1], photo[alpha >= 1])


def test_over_is_exact_at_both_ends() -> None:
    random = np.random.default_rng(0)
    front, back = (random.integers(0, 256, (8, 8, 3), np.uint8) for _ in range(2))
    empty: Image = composite(front, back, np.zeros((8, 8), np.float32))
    assert np.array_equal(empty, back)
    assert np.array_equal(composite(front, back, np.ones((8, 8), np.float32)), front)
