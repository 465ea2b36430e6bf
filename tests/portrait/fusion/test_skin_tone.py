"""The tone of skin and its light; a template led over to it. On a drawn head: faces of photos are in the painter's tests."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.fusion.skin_tone import (
    VIVID,
    Light,
    SkinChange,
    lead_over,
    measure_light,
    measure_skin,
    own_tone,
    settle_tone,
)
from portrait.fusion.warp import region_mask
from portrait.images.color import from_lab, from_linear, to_lab, to_linear
from portrait.types import Face

LIGHT_SKIN, DARK_SKIN = np.array([0.55, 0.33, 0.24], np.float32), np.array([0.11, 0.05, 0.03], np.float32)


def change(before: NDArray[np.float32], after: NDArray[np.float32]) -> SkinChange:
    def lab(colour: NDArray[np.float32]) -> NDArray[np.float32]:
        return to_lab(from_linear(colour)[None, None])[0, 0]

    light = float(before @ np.array([0.2126, 0.7152, 0.0722], np.float32))
    return SkinChange(lab(before), lab(after), lab(after), before, after / before, 1.25 * light)


def shaded(skin: NDArray[np.float32]) -> tuple[Image, Mask]:
    """Skin in light that falls off to a quarter from left to right, and a mask of its upper half."""
    light = np.linspace(1.1, 0.28, 64, dtype=np.float32)[None, :, None]
    mask = np.zeros((32, 64), np.float32)
    mask[:16] = 1
    return from_linear(np.broadcast_to(skin * light, (32, 64, 3))), mask


@pytest.mark.parametrize(("before", "after"), [(LIGHT_SKIN, DARK_SKIN), (DARK_SKIN, LIGHT_SKIN)])
def test_shadows_stay_and_the_skin_becomes_the_other(before: NDArray[np.float32], after: NDArray[np.float32]) -> None:
    image, mask = shaded(before)
    wanted, _ = shaded(after)
    led = lead_over(image, mask, change(before, after))
    assert (led[16:] == image[16:]).all()
    gap = np.linalg.norm(to_lab(led) - to_lab(wanted), axis=2)[:15]
    assert np.median(gap) < 1.5
    assert gap.max() < 6


def test_shine_stays_white_on_dark_skin_and_does_not_glare_on_light() -> None:
    image, mask = shaded(LIGHT_SKIN)
    cv2.circle(image, (20, 8), 3, (250, 246, 242), -1)
    dark = to_lab(lead_over(image, mask, change(LIGHT_SKIN, DARK_SKIN)))
    assert dark[8, 20, 0] > dark[8, 30, 0] + 20
    assert np.hypot(*dark[8, 20, 1:]) < 20
    image, _ = shaded(DARK_SKIN)
    cv2.circle(image, (20, 8), 3, (190, 184, 180), -1)
    light = lead_over(image, mask, change(DARK_SKIN, LIGHT_SKIN))
    assert light.max() < 255


def test_light_is_taken_off_and_put_on_again() -> None:
    light = Light(np.array([0.9, 1.0, 1.3], np.float32), 1.4, 2.0)
    assert np.allclose(light.lit(light.neutral(LIGHT_SKIN)), LIGHT_SKIN, atol=1e-4)
    assert to_linear(from_linear(LIGHT_SKIN[None, None]))[0, 0] == pytest.approx(LIGHT_SKIN, abs=0.01)
    assert (light.neutral(DARK_SKIN) > DARK_SKIN).all()


def test_no_skin_is_more_colourful_than_skin_is(astronaut: Image, astronaut_face: Face) -> None:
    warm = from_linear(to_linear(astronaut) * np.array([1.0, 0.72, 0.42], np.float32))
    for image, colourful in ((astronaut, False), (warm, True)):
        skin, tone = measure_skin(image, astronaut_face), own_tone([(image, astronaut_face)])
        assert skin is not None
        assert tone is not None
        given = measure_light(image, astronaut_face).neutral(skin)
        before, after = (to_lab(from_linear(each[None, None]))[0, 0] for each in (given, tone))
        most = float(np.interp(before[0], *VIVID))
        assert (np.linalg.norm(before[1:]) > most) == colourful
        assert np.linalg.norm(after[1:]) < most + 0.5
        assert after[0] == pytest.approx(before[0], abs=0.5)
        if not colourful:
            assert after == pytest.approx(before, abs=0.1)


def test_an_empty_mask_changes_nothing() -> None:
    image, mask = shaded(LIGHT_SKIN)
    assert lead_over(image, mask * 0, change(LIGHT_SKIN, DARK_SKIN)) is image


def test_overexposed_skin_gets_the_colour_of_the_other_skin() -> None:
    image, mask = shaded(LIGHT_SKIN)
    image[:, 4:16] = (222, 221, 218)
    led = to_lab(lead_over(image, mask, change(LIGHT_SKIN, DARK_SKIN)))
    wanted = to_lab(from_linear(DARK_SKIN[None, None]))[0, 0]
    assert np.degrees(np.arctan2(led[8, 10, 2], led[8, 10, 1])) == pytest.approx(
        np.degrees(np.arctan2(*wanted[:0:-1])), abs=20
    )
    assert np.hypot(*led[8, 10, 1:]) > 10


def test_grey_on_skin_that_is_nearly_white_gets_the_skins_colour() -> None:
    white, peach = np.array([0.94, 0.86, 0.74], np.float32), np.array([0.72, 0.58, 0.46], np.float32)
    image, mask = shaded(white)
    image[:, :24] = from_linear(np.broadcast_to(white, (32, 24, 3)))
    image[:, 8:14] = (199, 203, 204)
    led, wanted = to_lab(lead_over(image, mask, change(white, peach)))[8], to_lab(from_linear(peach[None, None]))[0, 0]
    assert np.hypot(*led[20, 1:]) == pytest.approx(np.hypot(*wanted[1:]), abs=2)
    assert np.hypot(*led[11, 1:]) > 0.6 * np.hypot(*wanted[1:])
    assert led[11, 2] > 5, "no blue line"


def test_no_line_is_left_where_dark_skin_ends_before_something_lighter() -> None:
    """The mask fades out over the thing, here a neck in much light, which is to keep its colour all the same."""
    image, mask = shaded(DARK_SKIN)
    image[:] = (205, 112, 62)
    mask[:] = np.linspace(0, 0.3, 64, dtype=np.float32)
    led = to_lab(lead_over(image, mask, change(DARK_SKIN, LIGHT_SKIN)))[8]
    before = to_lab(image)[8]
    assert np.linalg.norm(led - before, axis=1)[mask[8] < 0.15].max() < 6
    assert (led[:, 0] > before[:, 0] - 1).all(), "lighter skin leaves nothing darker"
    assert np.linalg.norm(np.diff(led, axis=0), axis=1).max() < 2, "nor a step"


@pytest.mark.parametrize("light", [0.8, 1.0, 1.2])
def test_what_is_redder_than_dark_skin_does_not_turn_pink_on_light_skin(light: float) -> None:
    brown, pale = np.array([0.38, 0.18, 0.08], np.float32), np.array([0.63, 0.48, 0.4], np.float32)
    image, mask = shaded(brown)
    image[:] = from_linear(np.broadcast_to(light * brown * np.array([1.25, 0.85, 0.5], np.float32), (32, 64, 3)))
    led, wanted = (
        to_lab(lead_over(image, mask, change(brown, pale)))[8, 40],
        to_lab(from_linear(pale[None, None]))[0, 0],
    )
    hues = [float(np.degrees(np.arctan2(each[2], each[1]))) for each in (led, wanted)]
    assert hues[0] == pytest.approx(hues[1], abs=8)
    assert np.hypot(*wanted[1:]) < np.hypot(*led[1:]) < 3 * np.hypot(*wanted[1:])


def test_a_warm_neck_below_a_bleached_face_does_not_turn_orange_on_brown_skin() -> None:
    """A template's light has taken the face's colour and left the neck's; a small change of tone leaves both."""
    bleached, brown = np.array([0.72, 0.57, 0.41], np.float32), np.array([0.37, 0.19, 0.08], np.float32)
    neck = np.array([0.78, 0.3, 0.13], np.float32)
    image, mask = shaded(bleached)
    image[:, 32:] = from_linear(np.broadcast_to(neck, (32, 32, 3)))
    mask[:] = 1
    led, wanted = (
        to_lab(lead_over(image, mask, change(bleached, brown)))[8],
        to_lab(from_linear(brown[None, None]))[0, 0],
    )
    apart = np.hypot(*led[48, 1:]) / np.hypot(*wanted[1:])
    assert 0.9 < apart < 1.5, "no more colourful than skin in shade is"
    assert led[48, 0] < to_lab(image)[8, 48, 0] - 15, "and darker than before"
    paler = to_lab(lead_over(image, mask, change(bleached, np.float32(0.97) * bleached)))[8, 48]
    assert np.linalg.norm(paler - to_lab(image)[8, 48]) < 4


def test_skin_that_is_pale_already_is_not_turned_blue_or_burnt_out(astronaut: Image, astronaut_face: Face) -> None:
    assert astronaut_face.mesh is not None
    mesh, lab = astronaut_face.mesh[:468], to_lab(astronaut)
    oval = region_mask(mesh, "oval", (512, 512), -4.0) > 0.5
    brows = mesh[9, 1]
    pale, ruddy = oval & (np.mgrid[:512, :512][0] < brows), oval & (np.mgrid[:512, :512][0] > brows + 8)
    lab[pale] = (90, 2, 7)
    lab[ruddy] += (-14, 6, 6)
    whole = np.ones((512, 512), np.float32)
    drawn = to_lab(settle_tone(astronaut, from_lab(lab), whole, mesh, np.array([78, 8, 20], np.float32)))
    inner = cv2.erode(pale.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    assert np.median(drawn[inner, 1:], axis=0).min() > -1, "no blue, no green"
    assert np.median(drawn[inner, 0]) < 97
    below = cv2.erode(ruddy.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    assert np.median(drawn[below, 0]) > np.median(lab[below, 0]) + 8, "what is dark becomes lighter"
