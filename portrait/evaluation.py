"""What was measured of a set of pictures: values, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass

from portrait.arrays import Image


@dataclass(frozen=True, slots=True, eq=False)
class PictureMeasures:
    """One picture of the set."""

    name: str
    faces: int
    sharpness: float | None
    """Of the face that counts; None without one. See `portrait.photos.quality.measure_sharpness`."""
    distance: float | None
    """To the person, in the face finder's space; None without a face or a person to compare with."""
    clip: float | None
    """How well it shows its prompt, 0..100; None where that was not measured."""
    thumb: Image
    """Small, for a page."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number about the whole set."""

    name: str
    """Stable: `fid`, `kid`, `inception_score`, `clip_score`, `likeness`, `diversity`, `diversity_pictures`, `sharpness`."""
    value: float
    better: str
    """`lower` or `higher`."""
    more: Mapping[str, float]
    """What belongs to it: deviation, p10, p90, count."""


@dataclass(frozen=True, slots=True)
class MissingMetric:
    """What could not be measured, and what would help."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All that was found out about a set."""

    pictures: tuple[PictureMeasures, ...]
    measures: tuple[Metric, ...]
    missing: tuple[MissingMetric, ...]
    notes: tuple[str, ...]
    """What one must know to read the numbers."""
    space: str
    """Embedding space of distances."""
    limit: float
    """Distance in that space at which two faces are taken for one person."""
    pairs: tuple[float, ...]
    """Distances between every two faces of the set."""
