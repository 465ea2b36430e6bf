"""Edits of pictures: what stays is unchanged to the pixel, and what cannot be done is said."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from portrait.arrays import Image, Mask, Size
from portrait.errors import UserError
from portrait.generation import edits
from portrait.generation.edit_masks import polygon_mask
from portrait.generation.edits import Edit
from portrait.generation.options import picture_hash
from portrait.images import edit_canvas


def picture(width: int = 120, height: int = 160) -> Image:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)


def edit(kind: Any = "variations", image: Image | None = None, **more: Any) -> Edit:
    given: dict[str, Any] = {"strength": 0.5} | more
    return Edit(kind, picture() if image is None else image, "0" * 64, **given)


def spot(height: int = 160, width: int = 120) -> Mask:
    """A square in the middle."""
    mask = np.zeros((height, width), np.float32)
    mask[height // 2 - 10 : height // 2 + 10, width // 2 - 10 : width // 2 + 10] = 1
    return mask


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [(120, 160, (16, 9)), (120, 160, (1, 1)), (161, 97, (1, 2)), (64, 64, (2, 1)), (101, 64, (3, 4))],
)
def test_an_extended_picture_keeps_its_pixels_and_gets_the_shape(
    width: int, height: int, shape: tuple[int, int]
) -> None:
    image = picture(width, height)
    given = edit("extend", image, shape=shape)
    edits.check(given)
    sheet = edit_canvas.lay_out(given, 64)
    tall, wide = sheet.canvas.shape[:2]
    assert abs(wide / tall - shape[0] / shape[1]) < 0.02
    assert np.array_equal(sheet.canvas[sheet.top : sheet.top + height, sheet.left : sheet.left + width], image)
    made = sheet.paste(np.zeros((64, 64, 3), np.uint8))
    band = max(2, round(min(width, height) / 32))
    across = (band, width - band) if wide > width else (0, width)
    down = (band, height - band) if tall > height else (0, height)
    unchanged = made[sheet.top + down[0] : sheet.top + down[1], sheet.left + across[0] : sheet.left + across[1]]
    assert np.array_equal(unchanged, image[down[0] : down[1], across[0] : across[1]])
    outside = np.ones((tall, wide), bool)
    outside[sheet.top : sheet.top + height, sheet.left : sheet.left + width] = False
    assert made[outside].max() == 0
    changed = sheet.drawing_mask(Size(wide, tall))
    assert changed is not None
    assert changed[outside].min() == 1


def test_what_an_extended_picture_lacks_goes_on_from_its_border() -> None:
    image = np.zeros((160, 120, 3), np.uint8)
    image[:, :60], image[:, 60:] = (200, 0, 0), (0, 0, 200)
    whole = edit_canvas.lay_out(edit("extend", image, shape=(2, 1)), 64).canvas
    assert whole[:, 95].mean(axis=0) == pytest.approx([200, 0, 0], abs=3)
    assert whole[:, 225].mean(axis=0) == pytest.approx([0, 0, 200], abs=3)


def test_a_repainted_picture_is_the_same_outside_of_its_mask() -> None:
    image, mask = picture(), spot()
    given = edit("repaint", image, mask=mask)
    edits.check(given)
    sheet = edit_canvas.lay_out(given, 64)
    assert sheet.window == Size(64, 64)
    made = sheet.paste(np.full((64, 64, 3), 255, np.uint8))
    assert np.array_equal(made[mask < 0.5], image[mask < 0.5])
    assert np.all(made[78:82, 58:62] == 255)
    border = edit_canvas.lay_out(edit("repaint", picture(1000, 1200), mask=spot(1200, 1000) * 0 + 1), 64)
    assert border.blend_mask is not None
    assert border.blend_mask.min() == 1


def test_a_small_mask_is_drawn_from_a_window_of_a_large_picture() -> None:
    image = picture(3000, 2000)
    mask = np.zeros((2000, 3000), np.float32)
    mask[10:30, 2900:2990] = 1
    sheet = edit_canvas.lay_out(edit("repaint", image, mask=mask), 512)
    assert (sheet.rows, sheet.columns) == (slice(0, 512), slice(2488, 3000))
    drawn = sheet.drawing_mask(Size(512, 512))
    assert drawn is not None
    assert drawn.sum() == mask.sum()
    assert np.array_equal(sheet.crop_for_drawing(Size(512, 512)), image[:512, 2488:])


def test_a_mask_of_one_pixel_is_not_lost_when_it_is_drawn_smaller() -> None:
    mask = np.zeros((160, 120), np.float32)
    mask[80, 60] = 1
    sheet = edit_canvas.lay_out(edit("repaint", mask=mask), 128)
    drawn = sheet.drawing_mask(Size(16, 16))
    assert drawn is not None
    assert drawn.sum() >= 1
    made = sheet.paste(np.zeros((16, 16, 3), np.uint8))
    assert (made != picture()).any(axis=2).sum() <= 1


def test_points_of_the_picture_are_found_in_the_drawing() -> None:
    sheet = edit_canvas.lay_out(edit("extend", picture(100, 200), shape=(1, 1)), 64)
    assert sheet.to_drawing(np.array([[0, 0], [100, 200]], np.float32), Size(100, 100)).tolist() == [[25, 0], [75, 100]]


def test_an_edit_that_draws_everything_anew_takes_the_drawing() -> None:
    sheet = edit_canvas.lay_out(edit("change", extra_prompt="with a hat"), 64)
    assert sheet.drawing_mask(Size(64, 64)) is None
    assert np.all(sheet.paste(np.full((64, 64, 3), 7, np.uint8)) == 7)
    assert sheet.paste(np.zeros((64, 48, 3), np.uint8)).shape == (160, 120, 3)


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (edit("change"), "bad_edit", "what shall be other"),
        (edit("change", extra_prompt="x" * 201), "bad_edit", "letters"),
        (edit(strength=0.0), "bad_edit", "strength"),
        (edit(strength=1.5), "bad_edit", "strength"),
        (edit("repaint"), "bad_mask", "not as large"),
        (edit("repaint", mask=spot(60, 60)), "bad_mask", "not as large"),
        (edit("repaint", mask=spot() * 0.4), "bad_mask", "empty"),
        (edit("extend"), "bad_edit", "1:2 to 2:1"),
        (edit("extend", shape=(21, 9)), "bad_edit", "1:2 to 2:1"),
        (edit("extend", shape=(3, 4)), "bad_edit", "already"),
        (edit("extend", np.zeros((8000, 6000, 3), np.uint8), shape=(3, 2)), "bad_size", "12000×8000"),
        (edit("instruct"), "bad_edit", "what shall be other"),
        (edit("change", extra_prompt="a hat", pictures=(picture(),)), "bad_edit", "goes with words"),
        (edit(image=picture(63, 64)), "bad_size", "64 to 8000"),
        (edit(image=np.zeros((64, 8001, 3), np.uint8)), "bad_size", "64 to 8000"),
    ],
)
def test_an_edit_that_cannot_be_drawn_is_refused(given: Edit, code: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        edits.check(given)
    assert caught.value.code == code


def test_an_edit_survives_the_round_trip_through_json() -> None:
    area = [[[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]]
    first = edit("repaint", extra_prompt="a tie", area=area, mask=polygon_mask(area, 120, 160))
    again = edits.from_dict(edits.to_dict(first), picture())
    assert edits.to_dict(again) == edits.to_dict(first)
    assert again.mask is not None
    assert again.mask.tolist() == polygon_mask(area, 120, 160).tolist()
    wide = edit("extend", shape=edits.parse_shape("16:9"))
    assert edits.from_dict(edits.to_dict(wide), picture()).shape == (16, 9)
    usual = edits.from_dict({"kind": "extend", "picture": "0"}, picture())
    assert usual.strength == edits.STRENGTHS["extend"]
    assert replace(usual, strength=0.5).strength == 0.5
    with pytest.raises(UserError, match="no edit"):
        edits.from_dict({"kind": "erase", "picture": ""}, picture())


def test_an_instruction_names_its_pictures_by_their_pixels_and_has_no_strength() -> None:
    first, coat = edit("instruct", extra_prompt="Give them this coat.", pictures=(picture(64, 64),)), picture(64, 64)
    edits.check(first)
    said = edits.to_dict(first)
    assert said == {
        "kind": "instruct",
        "picture": "0" * 64,
        "words": "Give them this coat.",
        "with": [picture_hash(coat)],
    }
    again = edits.from_dict(said, picture(), pictures={picture_hash(coat): coat, "other": picture()})
    assert (edits.to_dict(again), again.strength) == (said, 1.0)
    with pytest.raises(UserError, match="--from") as caught:
        edits.from_dict(said, picture(), pictures={"other": picture()})
    assert caught.value.code == "hint_missing"
    with pytest.raises(UserError, match="no strength"):
        edits.from_dict({**said, "strength": 0.5}, picture(), pictures={picture_hash(coat): coat})


@pytest.mark.parametrize("given", ["16x9", "16:", ":9", "0:9", "-1:2", "1.5:1", "99999999999:9", "1" * 5_000 + ":9"])
def test_an_invalid_aspect_ratio_is_refused(given: str) -> None:
    with pytest.raises(UserError, match="16:9") as caught:
        edits.parse_shape(given)
    assert caught.value.code == "bad_edit"
