"""Distances between face embeddings; vectors of different embedding spaces are never compared."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from portrait.arrays import Vector

ANGULAR = {"buffalo_l", "antelopev2"}
"""Spaces of ArcFace, which trains the angle alone: the length of a vector depends on how clear the picture is."""


def distance(space: str, one: Vector, other: Vector) -> float:
    """Smaller is more alike: Euclidean for `dlib` (0..about 1.2), 1 − cosine for ArcFace spaces (0..2)."""
    return float(distance_matrix(space, [one, other])[0, 1])


def distance_matrix(space: str, vectors: Sequence[Vector]) -> NDArray[np.float64]:
    """N×N table of `distance` between all pairs."""
    points = np.stack(vectors).astype(np.float64)
    if space in ANGULAR:
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
        return 1 - points @ points.T
    return np.asarray(cdist(points, points), np.float64)


def mean_embedding(space: str, vectors: Sequence[Vector]) -> Vector:
    """Mean of several embeddings of one person; for ArcFace the mean direction with the mean length."""
    points = np.stack(vectors).astype(np.float64)
    if space not in ANGULAR:
        return points.mean(axis=0).astype(np.float32)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    direction = (points / np.maximum(lengths, 1e-9)).mean(axis=0)
    return (direction / max(np.linalg.norm(direction), 1e-9) * lengths.mean()).astype(np.float32)
