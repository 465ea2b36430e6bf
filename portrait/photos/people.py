"""Tells the people of a set of photos apart: by the distances of their faces, and by sex and age where those leave doubt.

One threshold does not do: photos of one person lie 0.26 to 0.50 apart in dlib's space, and different people mostly 0.68 and
more, but East Asian faces of different people come as near as 0.29. What stays unsure is asked, and not merged.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from portrait.arrays import Vector
from portrait.faces.likeness import distance, distance_matrix
from portrait.photos.selection import add_faults, is_excluded, photo_value
from portrait.ports import Attributes
from portrait.types import Likeness, PersonQuestion, ScoredPhoto, Sign

Table = NDArray[np.float64]
"""N×N distances between photos."""

SURE = 0.8
"""Mean distance between two groups of photos up to which they show one person whatever lies between them, over the distance at
which two faces are taken for one person: 0.48 for dlib."""
NEAR = 0.5
"""Largest distance in a set, in the same unit, up to which sex and age are not asked: 0.30 for dlib."""
GAP = 0.3
"""Least gap that lets two groups be two people, in the same unit: by how much they are farther apart than the photos of either
are among themselves."""
ALONE = 0.75
"""What a photo alone is taken to be apart from further photos of its person, in the same unit."""
SEX_WEIGHT, AGE_WEIGHT = 0.5, 0.4
"""What a contradiction of sex or age adds to a distance, in the same unit."""
SEX_GAP = (0.5, 0.9)
"""Differences of the probability of being female, or of being a minor, that are no and a full contradiction."""
AGE_GAP = (15.0, 35.0)
"""The same for years: a network is wrong by 7 years in the mean, and photos of a person may be years apart."""
CLEAR = 0.8
"""Mean contradiction from which two groups of several photos are two people without a question."""


@dataclass(frozen=True, slots=True, eq=False)
class _Evidence:
    """What is known of the usable photos of a set."""

    faces: Table
    """Distances of the embeddings, over the distance at which two faces are taken for one person."""
    sex: Table
    age: Table
    """Contradictions, 0 to 1."""

    @property
    def distances(self) -> Table:
        return self.faces + SEX_WEIGHT * self.sex + AGE_WEIGHT * self.age


def separate_people(
    photos: Sequence[ScoredPhoto],
    space: str,
    limit: float,
    required: Collection[int],
    estimate: Callable[[ScoredPhoto], Attributes | None] = lambda photo: None,
) -> tuple[list[ScoredPhoto], tuple[PersonQuestion, ...]]:
    """Mark the photos outside the largest group of similar faces, and set the likeness of all.

    Photos of somebody else become `another_person`; those that may be of somebody else become `maybe_another_person`, and the
    question about them is returned. Of groups of equal size that with most photos in `required` counts; who requires photos
    of a doubtful group has answered its question. The likeness is the distance to the group's medoid.

    limit: mean distance up to which groups are merged, so that one odd photo does not bridge two people.
    estimate: sex and age of a photo's face, or None where they are not known; asked only where faces leave doubt.
    """
    out = list(photos)
    usable = [
        at for at, photo in enumerate(photos) if photo.verdict != "refuse" and embedding_of(photo, space) is not None
    ]
    compared = [at for at in usable if not is_excluded(photos[at])] or usable
    if not usable:
        return out, ()
    vectors = [_embedding(photos[at], space) for at in compared]
    evidence = _gather([photos[at] for at in compared], distance_matrix(space, vectors) / limit, estimate)
    wanted = {number for number, at in enumerate(compared) if at in required}
    worth = [photo_value(photos[at]) for at in compared]
    person, doubtful = _find_person(evidence, wanted, worth)
    inner = evidence.faces[np.ix_(person, person)]
    medoid = vectors[person[int(inner.sum(axis=1).argmin())]]
    for at in usable:
        out[at] = replace(photos[at], likeness=Likeness(space, distance(space, medoid, _embedding(photos[at], space))))
    unsure = {number for group in doubtful for number in group}
    for number, at in enumerate(compared):
        if number in unsure:
            out[at] = add_faults(out[at], "maybe_another_person")
        elif number not in person:
            out[at] = add_faults(out[at], "another_person")

    def names(group: Sequence[int]) -> tuple[str, ...]:
        return tuple(photos[compared[number]].name for number in group)

    questions = (
        PersonQuestion(
            names(person), names(group), limit * _mean(evidence.faces, person, group), _signs(evidence, person, group)
        )
        for group in doubtful
    )
    return out, tuple(questions)


def embedding_of(photo: ScoredPhoto, space: str) -> Vector | None:
    """The embedding of a photo's face; None where it has none in that space."""
    return photo.face.embeddings.get(space) if photo.face else None


def _embedding(photo: ScoredPhoto, space: str) -> Vector:
    vector = embedding_of(photo, space)
    if vector is None:
        raise ValueError(f"{photo.name} has no {space} embedding")
    return vector


def _gather(
    photos: Sequence[ScoredPhoto], faces: Table, estimate: Callable[[ScoredPhoto], Attributes | None]
) -> _Evidence:
    nothing = np.zeros_like(faces)
    if faces.max() <= NEAR:
        return _Evidence(faces, nothing, nothing)
    found = [estimate(photo) for photo in photos]

    def apart(value: Callable[[Attributes], float], none: float, full: float) -> Table:
        numbers = np.array([np.nan if each is None else value(each) for each in found])
        contradiction = (np.abs(numbers[:, None] - numbers[None]) - none) / (full - none)
        return np.nan_to_num(contradiction, nan=0.0).clip(0, 1)

    age = np.maximum(apart(lambda each: each.age, *AGE_GAP), apart(lambda each: each.minor, *SEX_GAP))
    return _Evidence(faces, apart(lambda each: each.female, *SEX_GAP), age)


def _find_person(
    evidence: _Evidence, wanted: Collection[int], worth: Sequence[float]
) -> tuple[list[int], list[list[int]]]:
    """The photos of the person, and the groups of photos that may be of the person; all others are of somebody else."""

    def rank(group: Sequence[int]) -> tuple[int, int, float]:
        return len(group), sum(number in wanted for number in group), sum(worth[number] for number in group)

    groups = _cluster(evidence.distances)
    person = max(groups, key=rank)
    doubtful = [each for each in groups if each is not person and _is_doubtful(evidence, person, each)]
    while (parts := _widest_split(evidence, person)) is not None:
        person, other = sorted(parts, key=rank, reverse=True)
        if not _is_clear(evidence, person, other):
            doubtful.append(other)
    # Whoever wants photos of a doubtful group in says that it is the person.
    known = [each for each in doubtful if any(number in wanted for number in each)]
    return sorted(sum(known, person)), [each for each in doubtful if each not in known]


def _cluster(distances: Table) -> list[list[int]]:
    """Groups by average linkage, merged while their mean distance is at most that of one person."""
    if len(distances) < 2:
        return [[number] for number in range(len(distances))]
    labels = fcluster(linkage(squareform(distances, checks=False), "average"), 1.0, "distance")
    return [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]


def _is_doubtful(evidence: _Evidence, person: Sequence[int], other: Sequence[int]) -> bool:
    """Whether a group outside of the person's may still be theirs: the faces alone do not tell them apart."""
    return _mean(evidence.faces, person, other) <= 1.0 and not _is_clear(evidence, person, other)


def _is_clear(evidence: _Evidence, person: Sequence[int], other: Sequence[int]) -> bool:
    """Whether sex or age of several photos on both sides say that two groups are two people."""
    contradiction = max(_mean(evidence.sex, person, other), _mean(evidence.age, person, other))
    return min(len(person), len(other)) >= 2 and contradiction >= CLEAR


def _widest_split(evidence: _Evidence, group: Sequence[int]) -> tuple[list[int], list[int]] | None:
    """The two parts of a group with the widest gap between them; None where they may well be one person."""
    if len(group) < 2:
        return None
    distances = evidence.distances
    best, widest = None, GAP
    for one, other in _forks(distances, group):
        between = _mean(distances, one, other)
        gap = between - max(_spread(distances, one), _spread(distances, other))
        if between > SURE and gap > widest:
            best, widest = (one, other), gap
    if best is None:
        return None
    one, other = (list(part) for part in best)
    for number in group:  # What lies outside of both goes with the nearer one.
        if number not in best[0] and number not in best[1]:
            nearer = one if _mean(distances, [number], best[0]) <= _mean(distances, [number], best[1]) else other
            nearer.append(number)
    return sorted(one), sorted(other)


def _forks(distances: Table, group: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """The two branches of every fork of a group's tree (average linkage)."""
    branches = [[number] for number in group]
    for left, right, *_ in linkage(squareform(distances[np.ix_(group, group)], checks=False), "average"):
        one, other = branches[int(left)], branches[int(right)]
        yield one, other
        branches.append(one + other)


def _spread(distances: Table, group: Sequence[int]) -> float:
    """Mean distance of the photos of a group from each other."""
    inner = distances[np.ix_(group, group)]
    count = len(group)
    return float(inner.sum() / (count * (count - 1))) if count > 1 else ALONE


def _mean(table: Table, one: Sequence[int], other: Sequence[int]) -> float:
    return float(table[np.ix_(one, other)].mean())


def _signs(evidence: _Evidence, person: Sequence[int], other: Sequence[int]) -> tuple[Sign, ...]:
    """What speaks for two people: sex, age, and else the faces."""
    tables: dict[Sign, Table] = {"sex": evidence.sex, "age": evidence.age}
    return tuple(sign for sign, table in tables.items() if _mean(table, person, other) >= 0.5) or ("face",)
