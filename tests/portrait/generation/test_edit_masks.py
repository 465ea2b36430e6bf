"""Masks of edits: outlines become masks and masks outlines, within what a request may have."""

import numpy as np
import pytest

from portrait.errors import UserError
from portrait.generation import edit_masks


def test_masks_of_the_same_aspect_ratio_are_resized() -> None:
    assert edit_masks.fit_mask(np.ones((80, 60), np.float32), 120, 160).shape == (160, 120)
    kept = np.eye(160, 120, dtype=np.float32)
    assert edit_masks.fit_mask(kept, 120, 160) is kept
    with pytest.raises(UserError, match="another shape") as caught:
        edit_masks.fit_mask(np.ones((80, 80), np.float32), 120, 160)
    assert caught.value.code == "bad_mask"


def test_outlines_become_masks() -> None:
    mask = edit_masks.polygon_mask([[[0, 0], [0.5, 0], [0.5, 1], [0, 1]], [[0.9, 0.9], [2, 0.9], [2, 2]]], 100, 50)
    assert mask[:, :50].min() == 1
    assert mask[:40, 51:].max() == 0
    for wrong in ([[[0, 0], [1, 1]]], [[[0, 0]] * 2001]):
        with pytest.raises(UserError, match="corners") as caught:
            edit_masks.polygon_mask(wrong, 100, 50)
        assert caught.value.code == "bad_mask"


def test_a_painted_mask_becomes_outlines_that_fill_it_again() -> None:
    rows, columns = np.mgrid[:300, :400]
    away = np.hypot(rows - 150, columns - 150)
    ring = (away < 90) & (away > 40)
    mask = (ring | ((columns > 280) & (columns < 380) & (rows > 20) & (rows < 200))).astype(np.float32)
    outlines = edit_masks.trace_mask(mask)
    assert len(outlines) == 2
    filled = edit_masks.polygon_mask(outlines, 400, 300)
    assert (filled != mask).mean() < 0.01, "the hole stays a hole"


def test_a_mask_of_many_specks_keeps_to_what_a_request_may_have() -> None:
    specks = np.zeros((256, 256), np.float32)
    specks[::4, ::4] = specks[1::4, ::4] = specks[::4, 1::4] = 1
    specks[100:150, 100:180] = 1
    specks[110:130:3, 110:170:3] = 0
    outlines = edit_masks.trace_mask(specks)
    assert len(outlines) <= edit_masks.MAX_OUTLINES
    assert all(3 <= len(each) <= edit_masks.MAX_OUTLINE_CORNERS for each in outlines)
    filled = edit_masks.polygon_mask(outlines, 256, 256)
    assert filled[100:150, 100:180].mean() > 0.5, "the largest areas are kept"
    assert edit_masks.trace_mask(np.zeros((8, 8), np.float32)) == []
