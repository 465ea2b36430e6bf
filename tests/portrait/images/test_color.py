import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.faces.geometry import bounding_box, scaling_matrix, transform_face
from portrait.faces.mesh import BROWS, CHEEKS, EYES, LIPS, OVAL, UNDER_EYES
from portrait.faces.skin import retouch_skin, skin_mask
from portrait.images import color
from portrait.types import Face, Pose
from tests import fakes, selfies
from tests.seams import delta_e

SKIN, HAIR, WALL, LIP = (205, 160, 135), (60, 42, 30), (120, 125, 130), (170, 90, 90)

# Ten published swatches of human skin, from palest to darkest (Monk Skin Tone Scale, Google 2022, CC BY 4.0).
MONK = ["f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a", "292420"]


def circle(count: int, centre: tuple[float, float], width: float, height: float) -> NDArray[np.float64]:
    angles = np.linspace(0, math.tau, count, endpoint=False) - math.pi / 2
    return np.array(centre) + np.stack([np.cos(angles) * width / 2, np.sin(angles) * height / 2], axis=1)


def made_face() -> Face:
    """A face of 160×200 pixels in the middle of 300×300, its contours ellipses."""
    mesh = np.full((478, 2), 150.0)
    parts = [(OVAL, (150, 150), 160, 200), (LIPS, (150, 205), 56, 20)]
    for eyes, brows, below, cheeks, x in zip(EYES, BROWS, UNDER_EYES, CHEEKS, (115, 185), strict=True):
        parts += [(eyes, (x, 130), 34, 12), (brows, (x, 108), 44, 8), (below, (x, 145), 36, 12)]
        parts += [(cheeks, (x, 172), 26, 20)]
    for indices, centre, width, height in parts:
        mesh[list(indices)] = circle(len(indices), centre, width, height)
    five = np.array([[115, 130], [185, 130], [150, 165], [125, 205], [175, 205]], np.float32)
    points: Points = np.column_stack([mesh, np.zeros(len(mesh))]).astype(np.float32)
    return Face(bounding_box(points[list(OVAL)]), five, points, {}, Pose(0, 0, 0), 1.0)


def made_picture(seed: int = 0) -> Image:
    """A face drawn to fit `made_face`: skin with pores and blotches, hair above the brow, eyes, lips."""
    picture = np.full((300, 300, 3), WALL, np.float32)
    cv2.ellipse(picture, (150, 120), (105, 110), 0, 0, 360, HAIR, -1)
    cv2.ellipse(picture, (150, 150), (80, 100), 0, 0, 360, SKIN, -1)
    random = np.random.default_rng(seed)
    blotches = cv2.GaussianBlur(random.normal(0, 60, (300, 300)).astype(np.float32), (0, 0), 5)
    picture += (blotches + random.normal(0, 2, (300, 300)))[..., None]
    cv2.rectangle(picture, (60, 40), (240, 85), HAIR, -1)
    for x in (115, 185):
        cv2.ellipse(picture, (x, 130), (17, 6), 0, 0, 360, (235, 235, 235), -1)
        cv2.ellipse(picture, (x, 108), (22, 4), 0, 0, 360, HAIR, -1)
    cv2.ellipse(picture, (150, 205), (28, 10), 0, 0, 360, LIP, -1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def grey_of(image: Image) -> Image:
    return np.asarray(cv2.merge([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3), np.uint8)


def enlarged(image: Image, factor: int) -> Image:
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)


def box_mask(image: Image, top: int, bottom: int, left: int, right: int) -> Mask:
    mask = np.zeros(image.shape[:2], np.float32)
    mask[top:bottom, left:right] = 1
    return mask


def cast(image: Image, red: float, green: float, blue: float) -> Image:
    return color.from_linear(color.to_linear(image) * np.array([red, green, blue], np.float32))


def middle_change(one: Image, two: Image, mask: Mask | None = None) -> float:
    change = delta_e(one, two)
    return float(np.median(change if mask is None else change[mask > 0.5]))


# --- Colour spaces


def test_lab_knows_white_black_and_comes_back() -> None:
    pixels = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
    lab = color.to_lab(pixels)
    assert lab[0, 0] == pytest.approx([100, 0, 0], abs=0.5)
    assert lab[0, 1] == pytest.approx([0, 0, 0], abs=0.5)
    assert lab[0, 2] == pytest.approx([53.2, 80.1, 67.2], abs=1)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert np.abs(color.from_lab(color.to_lab(noise)).astype(int) - noise).max() <= 1
    assert (color.from_linear(color.to_linear(noise)) == noise).all()


def test_delta_e_is_distance_in_lab() -> None:
    one, two = np.full((2, 2, 3), 119, np.uint8), np.full((2, 2, 3), 144, np.uint8)
    assert delta_e(one, one).max() == 0
    assert delta_e(one, two) == pytest.approx(9.6, abs=0.5)


def test_blend_keeps_what_is_not_masked_to_the_bit() -> None:
    image = made_picture()
    mask = np.tile(np.linspace(0, 1, 300, dtype=np.float32), (300, 1))
    out = color.blend(image, 255 - image, mask)
    assert (out[:, 0] == image[:, 0]).all()
    assert (out[:, -1] == 255 - image[:, -1]).all()


# --- match_tone


def test_matching_brings_tone_near_and_leaves_the_rest() -> None:
    image = made_picture()
    target = cast(selfies.lit(image, -0.5), 1.1, 1, 0.9)
    mask = box_mask(image, 160, 190, 90, 210)
    out = color.match_tone(image, mask, target, mask)
    assert middle_change(out, target, mask) < 0.25 * middle_change(image, target, mask)
    assert (out[mask == 0] == image[mask == 0]).all()
    half = color.match_tone(image, mask, target, mask, 0.5)
    assert middle_change(image, half, mask) == pytest.approx(middle_change(image, out, mask) / 2, rel=0.2)


@pytest.mark.parametrize("wall", [(128, 130, 131), (20, 40, 200), (255, 255, 255), (5, 5, 5)])
def test_skin_matched_to_anything_stays_skin(wall: tuple[int, int, int]) -> None:
    image = made_picture()
    mask = box_mask(image, 160, 190, 90, 210)
    target = np.clip(np.random.default_rng(0).normal(wall, 3, (40, 50, 3)), 0, 255).astype(np.uint8)
    lab = color.to_lab(color.match_tone(image, mask, target, np.ones((40, 50), np.float32)))[mask > 0]
    before = color.to_lab(image)[mask > 0]
    a, b = np.median(lab[:, 1]), np.median(lab[:, 2])
    assert math.hypot(a, b) > 0.6 * math.hypot(*np.median(before[:, 1:], axis=0))
    assert 30 < math.degrees(math.atan2(b, a)) < 80
    assert np.percentile(lab[:, 0], 99) < 98


def test_highlights_do_not_count_in_a_match() -> None:
    image, target = made_picture(), made_picture(1)
    mask = box_mask(image, 160, 190, 90, 210)
    shiny = image.copy()
    shiny[165:169, 100:150] = 255
    plain, other = (color.match_tone(each, mask, target, mask) for each in (image, shiny))
    away = mask.copy()
    away[160:175] = 0
    assert middle_change(plain, other, away) < 0.7


def test_a_guest_of_a_grey_picture_is_grey() -> None:
    image = made_picture()
    grey = grey_of(image)
    mask = box_mask(image, 160, 190, 90, 210)
    out = color.match_tone(image, mask, grey, mask)
    assert np.abs(color.to_lab(out)[mask > 0][:, 1:]).max() < 2
    assert (color.match_tone(image, mask * 0, grey, mask) == image).all()
    assert (color.match_tone(image, mask, grey, mask * 0) == image).all()


def test_what_is_read_and_what_changes_may_be_two_regions() -> None:
    image = made_picture()
    target = cast(selfies.lit(image, -0.5), 1.1, 1, 0.9)
    mask, elsewhere = box_mask(image, 160, 190, 90, 210), box_mask(image, 20, 60, 20, 60)
    out = color.match_tone(image, mask, target, mask, where=elsewhere)
    assert (out[elsewhere == 0] == image[elsewhere == 0]).all()
    both = color.match_tone(image, mask, target, mask, where=np.maximum(mask, elsewhere))
    assert (both[elsewhere > 0] == out[elsewhere > 0]).all()
    assert (both[mask > 0] == color.match_tone(image, mask, target, mask)[mask > 0]).all()


# --- white_balance


@pytest.mark.parametrize("gains", [(1, 1, 0.7), (1, 1, 1.35), (1.2, 1, 0.75), (0.8, 1, 1.25)])
def test_a_cast_is_mostly_taken_off(gains: tuple[float, float, float]) -> None:
    image = made_picture()
    mask = box_mask(image, 155, 190, 85, 215)
    tinted = cast(image, *gains)
    out = color.white_balance(tinted, mask)
    assert middle_change(out, image, mask) < 0.7 * middle_change(tinted, image, mask)
    half = color.white_balance(tinted, mask, 0.5)
    assert middle_change(out, image, mask) < middle_change(half, image, mask) < middle_change(tinted, image, mask)


def test_a_photo_without_a_cast_is_left_alone() -> None:
    image = made_picture()
    assert middle_change(color.white_balance(image, box_mask(image, 155, 190, 85, 215)), image) < 1
    assert middle_change(color.white_balance(selfies.astronaut()), selfies.astronaut()) < 1


def test_skin_in_a_warm_room_stays_warm() -> None:
    image = made_picture()
    image[(image == WALL).all(axis=2)] = (150, 110, 80)
    mask = box_mask(image, 155, 190, 85, 215)
    chroma = [
        np.median(np.hypot(*color.to_lab(each)[mask > 0][:, 1:].T))
        for each in (image, color.white_balance(image, mask))
    ]
    assert chroma[1] > 0.8 * chroma[0]
    # Even a picture that is nothing but skin does not turn grey.
    only = made_picture()[150:195, 90:210]
    out = color.to_lab(color.white_balance(only))
    assert np.median(out[..., 1]) > 5
    assert np.median(out[..., 2]) > 10


@pytest.mark.parametrize("tone", MONK)
def test_all_skin_keeps_its_depth_and_warmth(tone: str) -> None:
    swatch = np.array(list(bytes.fromhex(tone)), np.uint8)
    image = np.full((80, 80, 3), 128, np.uint8)
    image[:10], image[70:] = 235, 20
    image[20:60, 20:60] = swatch
    mask = box_mask(image, 20, 60, 20, 60)
    out = color.white_balance(image, mask)
    before, after = (color.to_lab(each)[40, 40] for each in (image, out))
    assert after[0] == pytest.approx(before[0], abs=2)
    assert np.hypot(*after[1:]) > np.hypot(*before[1:]) - 1
    assert middle_change(image, out, mask) < 8


def test_grey_and_blown_out_pictures_have_no_cast() -> None:
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (40, 40, 1), np.uint8), 3, axis=2)
    assert (color.white_balance(grey) == grey).all()
    blown = np.full((40, 40, 3), (255, 215, 150), np.uint8)
    assert color.cast_gains(blown, np.ones((40, 40), np.float32)) is None


# --- balance_by_skin

PAPERS = {"grey-blue": (90, 110, 130), "yellow": (215, 190, 110), "pink": (225, 190, 195), "lavender": (170, 165, 200)}


@pytest.mark.parametrize("paper", PAPERS)
def test_coloured_paper_is_no_coloured_light(paper: str) -> None:
    image = made_picture()
    image[(image == WALL).all(axis=2)] = PAPERS[paper]
    mask = box_mask(image, 155, 190, 85, 215)
    assert (color.balance_by_skin(image, mask) == image).all()


@pytest.mark.parametrize("gains", [(1, 1, 0.5), (1, 1, 1.5), (0.75, 1, 1.35)])
def test_a_cast_that_skin_shows_is_mostly_taken_off(gains: tuple[float, float, float]) -> None:
    image = made_picture()
    mask = box_mask(image, 155, 190, 85, 215)
    tinted = cast(image, *gains)
    assert middle_change(color.balance_by_skin(tinted, mask), image, mask) < 0.75 * middle_change(tinted, image, mask)


# --- expose


def test_a_dark_face_gets_light_and_nothing_clips() -> None:
    image = made_picture()
    mask = box_mask(image, 155, 190, 85, 215)
    dark = selfies.lit(image, -2.5)
    out = color.expose(dark, mask)
    light = np.percentile(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)[mask > 0], 95)
    assert 140 < light < 175
    assert (out >= dark).all()
    assert (out == 255).mean() <= (dark == 255).mean()
    turn = color.to_lab(out)[mask > 0] - color.to_lab(dark)[mask > 0]
    hue = [np.degrees(np.arctan2(*np.median(color.to_lab(each)[mask > 0][:, :0:-1], axis=0))) for each in (dark, out)]
    assert turn[:, 0].min() > 0
    assert hue[0] == pytest.approx(hue[1], abs=4)


def test_a_face_that_has_its_light_is_left_alone() -> None:
    image = made_picture()
    assert (color.expose(image, box_mask(image, 155, 190, 85, 215)) == image).all()
    assert (color.expose(image, np.zeros((300, 300), np.float32)) == image).all()


def test_dark_skin_in_good_light_is_not_made_paler() -> None:
    # Its highlights tell that there is light; the white wall tells that the exposure is right.
    image = np.full((100, 100, 3), 245, np.uint8)
    image[20:80, 20:80] = (70, 46, 36)
    image[20:30, 20:80] = (140, 112, 98)
    assert (color.expose(image, box_mask(image, 20, 80, 20, 80)) == image).all()


def test_too_much_light_is_taken_back_a_little() -> None:
    image = np.full((60, 60, 3), (248, 243, 239), np.uint8)
    out = color.expose(image, np.ones((60, 60), np.float32))
    assert 0.5 < middle_change(image, out) < 8
    assert out.mean() < image.mean()


def test_exposure_never_turns_light_and_dark_round() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(20, axis=0)
    for stops in (-3, -2, -1, 0.5):
        out = color.expose(selfies.lit(ramp, stops), np.ones((20, 256), np.float32))
        assert (np.diff(out[0, :, 0].astype(int)) >= 0).all()


# --- Skin


@pytest.mark.parametrize("side", [1, 2, 9, 33])
def test_tiny_pictures_pass(side: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    mask, face = np.ones((side, side), np.float32), fakes.face(image)
    far = transform_face(made_face(), scaling_matrix(side / 300))
    for each in (
        color.match_tone(image, mask, image, mask),
        color.white_balance(image, mask),
        color.expose(image, mask),
        retouch_skin(image, face, 1),
        retouch_skin(image, far, 1),
        retouch_skin(image, transform_face(far, np.array([[1, 0, 999], [0, 1, 999]], np.float64)), 1),
    ):
        assert each.shape == image.shape
        assert each.dtype == np.uint8
    assert skin_mask(image, far, neck=True).shape == (side, side)


def test_exposure_may_be_written_over_the_picture() -> None:
    dark, face = np.full((200, 90, 3), (60, 44, 36), np.uint8), np.zeros((200, 90), np.float32)
    dark[:20], face[60:120, 20:70] = 120, 1
    expected = color.expose(dark, face)
    assert not np.array_equal(expected, dark)
    assert color.expose(dark, face, out=dark) is dark
    assert np.array_equal(dark, expected)
