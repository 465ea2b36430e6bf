"""Validation results: their ranking, the neighbours to merge, and plateaus."""

import pytest

from pipelines.diffusion.training import validation
from portrait.training import ValidationResult


def results(*distances: float, collapsed: tuple[int, ...] = ()) -> list[ValidationResult]:
    return [ValidationResult(100 * at, each, 1.0, None, at in collapsed) for at, each in enumerate(distances, 1)]


@pytest.mark.parametrize(
    ("distances", "collapsed", "steps"),
    [
        ((0.9, 0.52, 0.51, 0.5), (), [200, 300, 400]),
        ((0.9, 0.7, 0.51, 0.5), (), [300, 400]),
        ((0.5, 0.51, 0.54, 0.5, 0.51), (), [100, 200, 300]),
        ((0.5, 0.9, 0.52, 0.49, 0.51), (), [300, 400, 500]),
        ((0.4, 0.9, 0.4, 0.4, 0.4), (), [100]),
        ((0.4, 0.45, 0.43, 0.42, 0.1), (5,), [100, 200, 300]),
        ((0.5, 0.49), (), [100, 200]),
        ((0.5,), (), [100]),
    ],
)
def test_the_best_is_merged_with_those_beside_it_that_are_about_as_good(
    distances: tuple[float, ...], collapsed: tuple[int, ...], steps: list[int]
) -> None:
    assert [
        result.step for result in validation.neighbours_to_merge(results(*distances, collapsed=collapsed), 3, 0.05)
    ] == steps


def test_one_picture_over_and_over_comes_last() -> None:
    assert [result.step for result in validation.rank_results(results(0.5, 0.1, 0.4, collapsed=(2,)))] == [
        300,
        100,
        200,
    ]


def test_a_plateau_is_results_without_improvement() -> None:
    assert not validation.has_plateaued(results(0.9, 0.8, 0.7), 3, 0.01)
    assert not validation.has_plateaued(results(0.9, 0.8, 0.8, 0.7), 2, 0.01)
    assert validation.has_plateaued(results(0.9, 0.5, 0.6, 0.495), 2, 0.01)
    assert not validation.has_plateaued(results(0.9, 0.5, 0.6, 0.7), 0, 0.01)
