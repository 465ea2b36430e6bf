import tracemalloc

import numpy as np
import pytest

from portrait.faces.likeness import distance, distance_matrix, likeness_in_words, likeness_step, mean_embedding


def test_dlib_is_euclidean_on_raw_vectors() -> None:
    one, other = np.array([3, 0], np.float32), np.array([0, 4], np.float32)
    assert distance("dlib", one, other) == pytest.approx(5)
    assert mean_embedding("dlib", [one, other]) == pytest.approx([1.5, 2])


def test_arcface_ignores_length() -> None:
    one, other = np.array([3, 0], np.float32), np.array([50, 0], np.float32)
    assert distance("buffalo_l", one, other) == pytest.approx(0)
    assert distance("antelopev2", one, -other) == pytest.approx(2)
    # A clear photo's long vector must not outweigh a dim one's.
    middle = mean_embedding("buffalo_l", [np.array([1, 0], np.float32), np.array([0, 99], np.float32)])
    assert middle[0] == pytest.approx(middle[1])


def test_table_is_symmetric() -> None:
    vectors = list(np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32))
    table = distance_matrix("dlib", vectors)
    assert table == pytest.approx(table.T)
    assert np.diag(table) == pytest.approx(0)


def test_the_memory_of_a_distance_matrix_is_that_of_its_result() -> None:
    vectors = [np.random.default_rng(number).random(128, np.float32) for number in range(400)]
    tracemalloc.start()
    table = distance_matrix("dlib", vectors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * (table.nbytes + 400 * 128 * 8)
    assert table[3, 7] == pytest.approx(np.linalg.norm(vectors[3] - vectors[7]), abs=1e-6)


@pytest.mark.parametrize(
    ("space", "far", "step"),
    [
        ("dlib", 0.35, 0),
        ("dlib", 0.36, 1),
        ("dlib", 0.5, 1),
        ("dlib", 0.6, 2),
        ("dlib", 0.61, 3),
        ("buffalo_l", 0.62, 2),
        ("antelopev2", 0.66, 3),
    ],
)
def test_a_distance_means_the_same_everywhere(space: str, far: float, step: int) -> None:
    assert likeness_step(space, far) == step
    words = ("very alike", "alike", "somewhat alike", "not alike")[step]
    assert likeness_in_words(space, far) == f"{words} ({far:.2f})"
