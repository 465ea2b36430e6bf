"""Previews of studio styles with a person: framed as the portrait, before the same backdrop."""

from dataclasses import replace

import numpy as np
import pytest

from portrait.arrays import Size
from portrait.studio import backdrops
from portrait.studio.composition import USUAL, compose
from portrait.studio.preview import SIZE, Scene, paint_preview
from tests.cut_out_person import SKIN, cut_out


def test_the_framing_is_that_of_the_portrait() -> None:
    drawn = cut_out()
    small, large = (compose(drawn.alpha, drawn.face, size, USUAL) for size in (SIZE, Size(1024, 1280)))
    assert small is not None
    assert large is not None
    assert small.composition == large.composition
    assert small.face_share == pytest.approx(large.face_share)
    assert small.frame.centre == pytest.approx(large.frame.centre)


def test_the_person_stands_before_the_backdrop_of_the_style() -> None:
    image = paint_preview(cut_out(), Scene("studio-blue"))
    assert image is not None
    assert image.shape == (SIZE.height, SIZE.width, 3)
    back = backdrops.paint("studio-blue", SIZE, 0)
    corner = (slice(0, 60), slice(0, 60))
    assert image[corner].mean() == pytest.approx(back[corner].mean(), abs=3)
    middle = image[SIZE.height * 2 // 5, SIZE.width // 2].astype(int)
    assert np.abs(middle - SKIN).max() < 40


def test_a_photo_without_room_for_the_style_gives_none() -> None:
    drawn = cut_out()
    cut = replace(drawn, front=drawn.front[:330], alpha=drawn.alpha[:330])
    assert paint_preview(cut, Scene("studio-blue", ("half_figure",))) is None
    assert paint_preview(cut, Scene("studio-blue")) is not None
