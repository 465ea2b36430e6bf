"""Seams that show read above the bar, seams that do not below it."""

import cv2
import numpy as np
import pytest

from portrait.arrays import Image, Mask
from portrait.images.masks import composite
from tests.seams import VISIBLE, seam

SIDE = 240


def textured_picture(seed: int) -> Image:
    """A picture with light, colour and texture of many scales."""
    random = np.random.default_rng(seed)
    out = np.full((SIDE, SIDE, 3), 128.0)
    for cells, strength in ((3, 30), (8, 15), (30, 6), (SIDE, 2)):
        field = random.normal(size=(cells, cells, 3)).astype(np.float32)
        out += cv2.resize(field, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) * strength
    return np.clip(out, 0, 255).astype(np.uint8)


def oval(seed: int, soft: float) -> Mask:
    random = np.random.default_rng(seed)
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    centre = (int(random.integers(90, 150)), int(random.integers(90, 150)))
    cv2.ellipse(drawn, centre, (55, 70), float(random.uniform(-30, 30)), 0, 360, 1, -1)
    mask = drawn.astype(np.float32)
    return mask if soft == 0 else np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)


@pytest.mark.parametrize("seed", range(10))
def test_an_unchanged_picture_shows_no_seam(seed: int) -> None:
    assert seam(textured_picture(seed), oval(seed, 0)) <= VISIBLE


@pytest.mark.parametrize("seed", range(10))
def test_a_hard_paste_shows_and_a_soft_one_of_like_tone_does_not(seed: int) -> None:
    image = textured_picture(seed)
    lighter = np.clip(image.astype(int) + 25, 0, 255).astype(np.uint8)
    assert seam(composite(lighter, image, oval(seed, 0)), oval(seed, 0)) > 2 * VISIBLE
    slightly = np.clip(image.astype(int) + 8, 0, 255).astype(np.uint8)
    assert seam(composite(slightly, image, oval(seed, 8)), oval(seed, 8)) <= VISIBLE


def test_the_more_a_patch_differs_the_more_its_seam_shows() -> None:
    image, mask = textured_picture(1), oval(1, 0)
    found = [
        seam(composite(np.clip(image.astype(int) + step, 0, 255).astype(np.uint8), image, mask), mask)
        for step in (0, 5, 15, 40)
    ]
    assert found == sorted(found)


def test_flat_pictures_and_masks_without_a_border_have_seam_zero() -> None:
    flat = np.full((50, 50, 3), 90, np.uint8)
    assert seam(flat, oval(1, 0)[:50, :50]) == 0
    mask = np.zeros((50, 50), np.float32)
    assert seam(flat, mask) == 0
    mask[20:30, 20:30] = 1
    assert seam(flat, mask) == 0
    patched = flat.copy()
    patched[20:30, 20:30] = 110
    assert seam(patched, mask) > 5


def test_grain_alone_is_no_seam() -> None:
    grain = np.random.default_rng(0).normal(128, 12, (200, 200, 3)).clip(0, 255).astype(np.uint8)
    mask = np.zeros((200, 200), np.float32)
    mask[60:140, 50:150] = 1
    assert seam(grain, mask) <= VISIBLE
