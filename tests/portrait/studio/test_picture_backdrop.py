"""Pictures as backdrops: cropped, blurred, and the light that they show."""

import numpy as np
import pytest

from portrait.arrays import Image, Size
from portrait.studio import backdrops, picture_backdrop
from portrait.studio.backdrops import BackdropPicture
from portrait.studio.lens import GRAIN
from portrait.studio.preview import SIZE, Scene, paint_preview
from tests.cut_out_person import SKIN, cut_out

SMALL = Size(160, 200)


def room(width: int = 480, height: int = 400, window: float = 0.9) -> Image:
    """A dark wall with a bright warm window at a share of the width."""
    wall = np.full((height, width, 3), (60, 60, 66), np.uint8)
    left = int(window * width) - width // 16
    wall[height // 4 : height // 2, left : left + width // 8] = (255, 225, 180)
    return wall


def columns() -> Image:
    """A picture whose red says how far to the right a pixel is, 0..250."""
    return np.broadcast_to(np.linspace(0, 250, 501)[None, :, None], (400, 501, 3)).astype(np.uint8)


@pytest.mark.parametrize(("size", "left", "right"), [(Size(160, 160), 25, 225), (Size(400, 100), 0, 250)])
def test_the_middle_of_the_picture_is_what_is_shown(size: Size, left: float, right: float) -> None:
    shown = picture_backdrop.paint(BackdropPicture(columns()), size, 1).astype(float)
    assert shown.shape == (size.height, size.width, 3)
    assert [shown[:, 0].mean(), shown[:, -1].mean()] == pytest.approx([left, right], abs=3)


def test_the_seed_decides_the_grain_alone() -> None:
    picture = BackdropPicture(room(), 0.3)
    one, same, other = (picture_backdrop.paint(picture, SMALL, seed).astype(float) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert 0 < np.abs(one - other).mean() < 2 * GRAIN


def test_blur_spreads_what_is_bright_and_keeps_its_light() -> None:
    sharp, soft, softer = (
        picture_backdrop.paint(BackdropPicture(room(window=0.5), blur), Size(320, 400), 1).astype(float)
        for blur in (0.0, 0.5, 1.0)
    )
    # Along the middle of the window, where the grain is averaged away.
    steps = [np.abs(np.diff(each[120:180].mean(axis=(0, 2)))).max() for each in (sharp, soft, softer)]
    assert steps[0] > 100
    assert steps[0] > 4 * steps[1] > 6 * steps[2]
    light = [(each**2.2).mean() for each in (sharp, soft)]
    assert light[1] == pytest.approx(light[0], rel=0.05)


def test_a_window_of_any_size_of_portrait_is_blurred_alike() -> None:
    small, large = (
        picture_backdrop.paint(BackdropPicture(room(960, 800, 0.5), 0.8), size, 1) for size in (SMALL, Size(640, 800))
    )
    reduced = large.reshape(200, 4, 160, 4, 3).mean(axis=(1, 3))
    assert np.abs(reduced - small).mean() < 2


@pytest.mark.parametrize(("window", "side"), [(0.3, -1), (0.5, 0), (0.7, 1)])
def test_the_light_comes_from_where_the_picture_is_bright(window: float, side: int) -> None:
    light = picture_backdrop.light_of(BackdropPicture(room(window=window)), SMALL)
    assert (abs(light.side) < 0.1) if side == 0 else (0.3 < side * light.side <= 0.9)
    red, green, blue = light.colour
    assert 1.12 > red > green == 1 > blue > 0.88
    assert {name for name, each in backdrops.LIGHTS.items() if abs(each.side) > 0.9} == set(), "as painted ones are"


@pytest.mark.parametrize("window", [0.3, 0.7])
def test_the_person_stands_before_the_picture_which_is_never_mirrored(window: float) -> None:
    picture = BackdropPicture(room(960, 800, window))
    image = paint_preview(cut_out(), Scene(picture))
    assert image is not None
    bright = image[SIZE.height // 4 : SIZE.height // 2].mean(axis=(0, 2))
    ends = float(bright[: SIZE.width // 4].mean()), float(bright[-SIZE.width // 4 :].mean())
    assert (ends[0] > ends[1] + 20) if window < 0.5 else (ends[1] > ends[0] + 20)
    assert np.abs(image[SIZE.height * 2 // 5, SIZE.width // 2].astype(int) - SKIN).max() < 40
