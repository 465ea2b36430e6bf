"""Statistics against closed forms."""

import numpy as np
import pytest
import scipy.linalg

from portrait.metrics import (
    clip_scores,
    cosine_distances,
    frechet_distance,
    histogram,
    inception_score,
    kernel_distance,
    summarize,
    upper_triangle,
)


def rows(count: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width))


def exactly(mean: np.ndarray, covariance: np.ndarray, count: int = 64) -> np.ndarray:
    """Rows whose mean and unbiased covariance are exactly these."""
    width = len(mean)
    raw = rows(count, width, 3)
    raw -= raw.mean(0)
    _, _, white = np.linalg.svd(raw, full_matrices=False)
    deviations = np.linalg.svd(raw, compute_uv=False) / np.sqrt(count - 1)
    values, vectors = np.linalg.eigh(covariance)
    return raw @ white.T / deviations * np.sqrt(np.maximum(values, 0)) @ vectors.T + mean


def test_frechet_of_gaussians_that_commute_has_a_closed_form() -> None:
    one, other = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 0.25])
    mean = np.array([1.0, -2.0, 0.5])
    expected = (mean**2).sum() + ((np.sqrt(one) - np.sqrt(other)) ** 2).sum()
    assert frechet_distance(exactly(np.zeros(3), np.diag(one)), exactly(mean, np.diag(other))) == pytest.approx(
        expected, abs=1e-9
    )


def test_frechet_in_two_dimensions_is_that_of_the_textbook() -> None:
    # tr √(S₁S₂) of 2×2 matrices is √(tr S₁S₂ + 2·√det S₁S₂).
    one, other = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 3.0]])
    product = one @ other
    shared = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = 5.0 + np.trace(one) + np.trace(other) - 2 * shared
    assert frechet_distance(exactly(np.zeros(2), one), exactly(np.array([1.0, 2.0]), other)) == pytest.approx(
        expected, abs=1e-9
    )


def test_frechet_of_features_is_that_of_their_means_and_covariances() -> None:
    mean = np.array([0.5, 0.0, -1.0, 2.0])
    first, second = (np.cov(rows(30, 4, seed).T) for seed in (1, 2))
    assert np.cov(exactly(mean, first).T) == pytest.approx(first)
    found = frechet_distance(exactly(np.zeros(4), first), exactly(mean, second, count=100))
    shared = np.trace(np.real(scipy.linalg.sqrtm(first @ second)))
    assert found == pytest.approx((mean**2).sum() + np.trace(first) + np.trace(second) - 2 * shared, abs=1e-8)


@pytest.mark.parametrize("count", [5, 40, 400])
def test_singular_covariances_are_exact(count: int) -> None:
    """Fewer pictures than features, and features that never change: where roots of products go wrong."""
    features = np.zeros((count, 40))
    features[:, :3] = rows(count, 3, count)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    moved = features + np.eye(40)[20] * 2
    assert frechet_distance(features, moved) == pytest.approx(4, abs=1e-9)
    # Twice the spread: the sum over directions of (2σ − σ)², which is the trace of the first covariance.
    wider = features * 2 - features.mean(0)
    assert frechet_distance(features, wider) == pytest.approx(np.trace(np.cov(features.T)), abs=1e-9)


def test_a_set_is_at_no_distance_from_itself_in_another_order() -> None:
    features = rows(300, 64, 0)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-9)


def test_one_spike_and_another_are_points() -> None:
    assert frechet_distance(np.zeros((2, 3)), np.tile([3.0, 4.0, 0.0], (2, 1))) == pytest.approx(25)


def test_kernel_distance_of_one_population_wavers_about_zero() -> None:
    found = [kernel_distance(rows(60, 16, seed), rows(60, 16, seed + 1000)).mean for seed in range(60)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    assert min(found) < 0 < max(found)


def test_kernel_distance_by_hand() -> None:
    one, other = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 2.0]])
    # (x·y/2 + 1)³: within the first 1, within the second 1, between 2³ on the diagonal and 1 off it.
    assert kernel_distance(one, other).mean == pytest.approx(1 + 1 - 2 * (8 + 1 + 1 + 8) / 4)


def test_kernel_distance_does_not_grow_as_pictures_become_few() -> None:
    """What the Fréchet distance does and this one does not."""
    few = [kernel_distance(rows(10, 8, seed), rows(10, 8, seed + 500) + 0.3).mean for seed in range(200)]
    many = [kernel_distance(rows(200, 8, seed), rows(200, 8, seed + 500) + 0.3).mean for seed in range(20)]
    assert np.mean(few) == pytest.approx(np.mean(many), abs=4 * np.std(few) / np.sqrt(len(few)))
    assert frechet_distance(rows(10, 8, 1), rows(10, 8, 2)) > 5 * frechet_distance(rows(200, 8, 1), rows(200, 8, 2))


def test_kernel_distance_draws_the_same_subsets_each_time() -> None:
    one, other = rows(50, 8, 1), rows(30, 8, 2) + 1
    first = kernel_distance(one, other, subset=20, subsets=10)
    assert first == kernel_distance(one, other, subset=20, subsets=10)
    assert first.deviation > 0
    assert first.mean == pytest.approx(kernel_distance(one, other, subset=30, subsets=200).mean, rel=0.3)


def test_inception_score_of_one_class_is_one_and_of_all_classes_their_number() -> None:
    assert inception_score(np.full((40, 5), 0.2)).mean == pytest.approx(1)
    assert inception_score(np.tile(np.eye(5)[0], (40, 1))).mean == pytest.approx(1)
    assert inception_score(np.tile(np.eye(5), (8, 1)), splits=1).mean == pytest.approx(5)
    split = inception_score(np.tile(np.eye(5), (8, 1)), splits=4)
    assert (split.mean, split.deviation) == pytest.approx((5, 0))


def test_inception_score_between_the_two_follows_its_formula() -> None:
    shares = np.array([[0.9, 0.1], [0.1, 0.9]])
    expected = np.exp(0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5))
    assert inception_score(shares).mean == pytest.approx(expected)


def test_clip_score_is_a_cosine_in_hundredths_and_never_negative() -> None:
    pictures = np.array([[3.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    texts = np.array([[5.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    assert clip_scores(pictures, texts) == pytest.approx([100, 100 / np.sqrt(2), 0])


def test_pairs_are_counted_once() -> None:
    table = cosine_distances(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    assert list(upper_triangle(table)) == pytest.approx([1, 2, 1])
    assert len(upper_triangle(table[:1, :1])) == 0


def test_summary_and_histogram() -> None:
    printed = summarize([float(each) for each in range(101)])
    assert (printed.median, printed.p10, printed.p90, printed.mean, printed.count) == (50, 10, 90, 50, 101)
    counts, edges = histogram([1.0, 1.0, 1.0], bins=4)
    assert sum(counts) == 3
    assert len(edges) == 5
    with pytest.raises(ValueError, match="no numbers"):
        summarize([])


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((1, 3))])
def test_what_are_no_features_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="N×D"):
        frechet_distance(wrong, np.zeros((5, 3)))
