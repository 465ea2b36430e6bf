"""Recipes reproduce random numbers from their seed: these values must never change."""

from portrait.arrays import random_generator


def test_a_seed_gives_the_same_numbers_for_ever() -> None:
    assert random_generator(7).random(2).tolist() == [0.625095466604667, 0.8972138009695755]
    assert random_generator((7, 3)).integers(0, 1000, 3).tolist() == [727, 975, 538]
