"""Distances between face embeddings, and what they mean in words; vectors of different spaces are never compared."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Vector

ANGULAR = {"buffalo_l", "antelopev2", "auraface"}
"""Spaces of ArcFace, which trains the angle alone: the length of a vector depends on how clear the picture is."""
STEPS = {"dlib": (0.35, 0.5, 0.6)}
"""By embedding space: distances up to which a face is very like, like, and somewhat like the person.

dlib's published limit of one person is 0.6; photos of one person were measured 0.26 to 0.48 apart, of different people 0.63 to
1.04.
"""
ARCFACE_STEPS = (0.35, 0.5, 0.65)
"""The same for all other spaces, which are ArcFace's, as 1 − cosine.

InsightFace's demo says "the same" from a similarity of 0.28 up, its tools that match people ask for 0.35 to 0.45.
"""
STEP_WORDS = ("very alike", "alike", "somewhat alike", "not alike")
"""The steps in words, from 0."""


def distance(space: str, one: Vector, other: Vector) -> float:
    """Smaller is more alike: Euclidean for `dlib` (0..about 1.2), 1 − cosine for ArcFace spaces (0..2)."""
    return float(distance_matrix(space, [one, other])[0, 1])


def distance_matrix(space: str, vectors: Sequence[Vector]) -> NDArray[np.float64]:
    """N×N table of `distance` between all pairs."""
    points = np.stack(vectors).astype(np.float64)
    if space in ANGULAR:
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
        return 1 - points @ points.T
    # Whoever asks for words alone, as the pages of the API do, does not load it.
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(points, points), np.float64)


def likeness_step(space: str, distance: float) -> int:
    """The distance of a face to a person as a step: 0 very alike, 1 alike, 2 somewhat alike, 3 not alike."""
    return sum(distance > limit for limit in STEPS.get(space, ARCFACE_STEPS))


def likeness_in_words(space: str, distance: float) -> str:
    """The distance of a face to a person in words, with the number behind them."""
    return f"{STEP_WORDS[likeness_step(space, distance)]} ({distance:.2f})"


def mean_embedding(space: str, vectors: Sequence[Vector]) -> Vector:
    """Mean of several embeddings of one person; for ArcFace the mean direction with the mean length."""
    points = np.stack(vectors).astype(np.float64)
    if space not in ANGULAR:
        return points.mean(axis=0).astype(np.float32)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    direction = (points / np.maximum(lengths, 1e-9)).mean(axis=0)
    return (direction / max(np.linalg.norm(direction), 1e-9) * lengths.mean()).astype(np.float32)
