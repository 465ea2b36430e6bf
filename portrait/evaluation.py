"""The values of an evaluation of a set of pictures: measures of each picture, metrics of the set."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class PictureMeasures:
    """Measures of one picture. Field names are keys of the JSON report."""

    name: str
    faces: int
    sharpness: float | None
    """Of the largest face; None without one. See `portrait.photos.quality.measure_sharpness`."""
    distance: float | None
    """Distance to the person in the face finder's embedding space; None without a face or a person."""
    clip: float | None
    """CLIP score with its prompt, 0..100; None where it was not measured."""
    thumb: bytes
    """Thumbnail for the report, a JPEG: of thousands of pictures as pixels they would take more than all the rest."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the whole set. Field names are keys of the JSON report."""

    name: str
    """Stable: `fid`, `kid`, `inception_score`, `clip_score`, `likeness`, `diversity`, `diversity_pictures`, `sharpness`."""
    value: float
    better: str
    """`lower` or `higher`."""
    more: Mapping[str, float]
    """Statistics beside the value: deviation, p10, p90, count."""


@dataclass(frozen=True, slots=True)
class MissingMetric:
    """A metric that could not be computed, and what would help."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The result of an evaluation."""

    pictures: tuple[PictureMeasures, ...]
    measures: tuple[Metric, ...]
    missing: tuple[MissingMetric, ...]
    notes: tuple[str, ...]
    """Remarks on how far the numbers can be trusted."""
    space: str
    """Embedding space of distances."""
    limit: float
    """Distance in that space at which two faces are taken for one person."""
    pairs: NDArray[np.float64]
    """Distances between all pairs of faces of the set."""
