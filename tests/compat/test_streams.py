"""Random numbers are those of version 0.1.0: without them no portrait could be drawn again from its recipe."""

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.compat import program, streams
from tests.compat.comparing import stored
from tests.compat.places import FIXTURES


def test_random_numbers_come_from_a_named_bit_generator() -> None:
    assert isinstance(program.random_generator(11).bit_generator, np.random.PCG64)


def test_streams_begin_with_the_same_numbers() -> None:
    for use, told in stored("streams.json")["streams"].items():
        stream = streams.Stream(use, told["seed"], told["draws"])
        for now, before in zip(stream.numbers(program.random_generator), told["numbers"], strict=True):
            np.testing.assert_allclose(now, before, rtol=1e-6, err_msg=use)


def test_seeds_that_are_made_of_several_numbers_are_the_same() -> None:
    assert streams.sequences() == stored("streams.json")["seeds"]


@pytest.mark.networks
def test_noise_of_sampling_and_training_is_the_same() -> None:
    now = streams.noise()
    for use, before in stored("streams.json")["noise"].items():
        np.testing.assert_allclose(now[use], before, rtol=1e-4, atol=1e-6, err_msg=use)


def test_backdrops_are_the_same() -> None:
    names = stored("names.json")["backdrops"]
    now = cv2.hconcat([program.backdrop(name, 48, 60, 3) for name in names])
    with PIL.Image.open(FIXTURES / "backdrops.png") as picture:
        before = np.asarray(picture).astype(int)
    difference = np.abs(before - now)
    assert difference.max() <= 1, "a level where rounding fell the other way"
    assert difference.mean() < 0.01
