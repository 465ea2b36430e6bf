import numpy as np
import pytest

from portrait.faces.likeness import distance, distance_matrix, mean_embedding


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
