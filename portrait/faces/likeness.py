"""How alike two faces are, in the space of one embedding; vectors of two spaces are never compared."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Vector

ANGULAR = {"buffalo_l", "antelopev2"}
"""ArcFace trains the angle alone: the length of its vectors says how clear a picture was, not who is in it."""


def distance(space: str, one: Vector, other: Vector) -> float:
    """Smaller is more alike: Euclidean for `dlib` (0..about 1.2), 1 − cosine for ArcFace spaces (0..2)."""
    return float(distances(space, [one, other])[0, 1])


def distances(space: str, vectors: Sequence[Vector]) -> NDArray[np.float64]:
    """N×N table of `distance` between all pairs."""
    points = np.stack(vectors).astype(np.float64)
    if space in ANGULAR:
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
        return 1 - points @ points.T
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def mean(space: str, vectors: Sequence[Vector]) -> Vector:
    """The middle of several embeddings of one person; for ArcFace the mean direction at the mean length."""
    points = np.stack(vectors).astype(np.float64)
    if space not in ANGULAR:
        return points.mean(axis=0).astype(np.float32)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    direction = (points / np.maximum(lengths, 1e-9)).mean(axis=0)
    return (direction / max(np.linalg.norm(direction), 1e-9) * lengths.mean()).astype(np.float32)
