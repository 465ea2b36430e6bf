"""Metrics of sets of pictures from their features: FID, KID, inception score, CLIP score, diversity.

Features are N×D, one row a picture. Everything is computed in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from portrait.arrays import random_generator

Numbers: TypeAlias = NDArray[np.float64]
Values: TypeAlias = Sequence[float] | Numbers


@dataclass(frozen=True, slots=True)
class MeanDeviation:
    """Mean and standard deviation of a metric."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary statistics of a list of numbers."""

    median: float
    p10: float
    p90: float
    mean: float
    count: int


def summarize(values: Values) -> Summary:
    """Median, 10th and 90th percentile, mean and count; raises `ValueError` for an empty list."""
    if len(values) == 0:
        raise ValueError("there are no numbers to sum up")
    numbers = np.asarray(values, np.float64)
    low, middle, high = (float(each) for each in np.percentile(numbers, (10, 50, 90)))
    return Summary(middle, low, high, float(numbers.mean()), len(numbers))


def histogram(values: Values, bins: int = 20) -> tuple[list[int], list[float]]:
    """Counts of `bins` equal bins, and the `bins` + 1 edges between them."""
    counts, edges = np.histogram(np.asarray(values, np.float64), bins=bins)
    return [int(each) for each in counts], [float(each) for each in edges]


def frechet_distance(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Fréchet distance between the Gaussians fitted to two sets of features (FID; Heusel and others 2017, 1706.08500).

    It is |m₁−m₂|² + tr(S₁ + S₂ − 2(S₁S₂)^½) of means m and covariances S. No root of a product is taken: with A and B the
    centred features, S₁ = AᵀA and S₂ = BᵀB, the trace of (S₁S₂)^½ is the sum of the singular values of A·Bᵀ. So fewer
    pictures than features, and features that never change, are as exact as anything else. Each set needs two rows.
    """
    first, second = _rows(one, 2), _rows(other, 2)
    root, other_root = _scatter(first), _scatter(second)
    apart = float(((first.mean(0) - second.mean(0)) ** 2).sum())
    shared = float(np.linalg.svd(root @ other_root.T, compute_uv=False).sum())
    # Rounding may make a distance of 0 negative.
    return max(0.0, apart + float((root**2).sum() + (other_root**2).sum()) - 2 * shared)


def _scatter(rows: Numbers) -> Numbers:
    """R (K×D, K ≤ D) with RᵀR the unbiased covariance."""
    centred = (rows - rows.mean(0)) / np.sqrt(len(rows) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"), np.float64) if len(rows) > rows.shape[1] else centred


def kernel_distance(
    one: NDArray[np.floating], other: NDArray[np.floating], subset: int = 1000, subsets: int = 100, seed: int = 0
) -> MeanDeviation:
    """Kernel distance (KID; Bińkowski and others 2018, 1801.01401): unbiased squared MMD of subsets of both sets.

    The kernel is (x·y/D + 1)³. Its mean is that of the true distance, whatever the number of pictures; near 0 it
    may be negative. Of a set smaller than `subset` all rows are used; if both are, there is one subset. Each set needs two
    rows.
    """
    first, second = _rows(one, 2), _rows(other, 2)
    size = min(subset, len(first), len(second))
    random = random_generator(seed)
    draws = 1 if size == len(first) == len(second) else subsets
    found = [_mmd(_sample(first, size, random), _sample(second, size, random)) for _ in range(draws)]
    return MeanDeviation(float(np.mean(found)), float(np.std(found)))


def _sample(rows: Numbers, size: int, random: np.random.Generator) -> Numbers:
    return rows[random.choice(len(rows), size, replace=False)]


def _mmd(one: Numbers, other: Numbers) -> float:
    """Unbiased squared maximum mean discrepancy: no row is compared with itself."""
    size = len(one)
    within = [(_cubic(each, each).sum() - (_cubic_own(each)).sum()) / (size * (size - 1)) for each in (one, other)]
    return float(sum(within) - 2 * _cubic(one, other).mean())


def _cubic(one: Numbers, other: Numbers) -> Numbers:
    return (one @ other.T / one.shape[1] + 1) ** 3


def _cubic_own(rows: Numbers) -> Numbers:
    return ((rows**2).sum(1) / rows.shape[1] + 1) ** 3


def inception_score(shares: NDArray[np.floating], splits: int = 10) -> MeanDeviation:
    """Inception score (Salimans and others 2016, 1606.03498), 1 to the number of classes.

    `shares` are the class probabilities, N×classes. Mean and deviation over `splits` parts, fewer if a part would have less
    than two pictures.
    """
    rows = _rows(shares, 1)
    parts = np.array_split(rows, max(1, min(splits, len(rows) // 2)))
    scores = [float(np.exp(_divergence(part).mean())) for part in parts]
    return MeanDeviation(float(np.mean(scores)), float(np.std(scores)))


def _divergence(rows: Numbers) -> Numbers:
    """Kullback–Leibler divergence of each row from the mean row, in nats."""
    middle = np.broadcast_to(rows.mean(0), rows.shape)
    ratio = np.divide(rows, middle, out=np.ones_like(rows), where=rows > 0)
    return (rows * np.log(ratio)).sum(1)


def cosine_similarities(one: NDArray[np.floating], other: NDArray[np.floating]) -> Numbers:
    """Cosine similarity of corresponding rows, −1..1."""
    first, second = _unit(_rows(one, 1)), _unit(_rows(other, 1))
    return (first * second).sum(1)


def clip_scores(pictures: NDArray[np.floating], texts: NDArray[np.floating]) -> Numbers:
    """CLIP score of each picture and its text, 0..100: 100 · max(cosine, 0).

    CLIPScore (Hessel and others 2021, 2104.08718) scales by 2.5; the usual tables scale by 100, as here.
    """
    return np.asarray(100 * np.maximum(cosine_similarities(pictures, texts), 0), np.float64)


def upper_triangle(distances: NDArray[np.floating]) -> Numbers:
    """The distances above the diagonal of an N×N table: each pair once."""
    return np.asarray(distances[~np.tri(len(distances), dtype=np.bool_)], np.float64)


def cosine_distances(rows: NDArray[np.floating]) -> Numbers:
    """N×N table of 1 − cosine."""
    units = _unit(_rows(rows, 1))
    return 1 - units @ units.T


def _unit(rows: Numbers) -> Numbers:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _rows(values: NDArray[np.floating], least: int) -> Numbers:
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or len(rows) < least:
        raise ValueError(f"features are N×D with N at least {least}, not {rows.shape}")
    return rows
