"""Selects the photos to train on: no duplicates, one person, the best and most varied first."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from portrait.arrays import Image, Vector
from portrait.faces.likeness import distance, distance_matrix
from portrait.photos.quality import reason_for
from portrait.photos.reasons import RESERVE
from portrait.types import Likeness, Pose, Quality, ScoredPhoto, Verdict

DUPLICATE_BITS = 14
"""Two photos whose 256-bit difference hashes differ in at most this many bits are near-duplicates: re-saved, resized or
re-exposed copies differed in 0 to 10 bits, the next frame of a moving head in 30 and more."""


def add_faults(photo: ScoredPhoto, *codes: str) -> ScoredPhoto:
    """The photo with more faults; its verdict follows from all of them."""
    reasons = photo.reasons + tuple(reason_for(code) for code in codes)
    return replace(photo, reasons=reasons, verdict=_verdict([each.code for each in reasons]))


def mark_duplicates(photos: Sequence[ScoredPhoto], required: Collection[int]) -> list[ScoredPhoto]:
    """Mark near-duplicates as such, all but the best of each; photos with an index in `required` count as better."""
    out = list(photos)
    usable = [index for index, photo in enumerate(photos) if photo.verdict != "refuse" and photo.selfie is not None]
    order = sorted(usable, key=lambda index: (index not in required, -_value(photos[index])))
    hashes: list[tuple[str, NDArray[np.bool_]]] = []
    for index in order:
        selfie = photos[index].selfie
        if selfie is None:
            continue
        own = (selfie.id, difference_hash(selfie.image))
        if any(own[0] == other[0] or int(np.sum(own[1] != other[1])) <= DUPLICATE_BITS for other in hashes):
            out[index] = add_faults(photos[index], "duplicate")
        else:
            hashes.append(own)
    return out


def mark_other_people(
    photos: Sequence[ScoredPhoto], space: str, limit: float, required: Collection[int]
) -> list[ScoredPhoto]:
    """Mark the photos outside the largest group of similar faces as another person, and set the likeness of all.

    Of groups of equal size that with most photos in `required` counts. The likeness is the distance to the group's medoid.
    Groups are merged while their mean distance is at most `limit`, so one odd photo does not bridge two people.
    """
    out = list(photos)
    usable = [
        index
        for index, photo in enumerate(photos)
        if photo.verdict != "refuse" and _find_embedding(photo, space) is not None
    ]
    if not usable:
        return out
    table = distance_matrix(space, [_embedding(photos[index], space) for index in usable])
    groups = _groups(table, limit)
    worth = [_value(photos[index]) for index in usable]
    group = max(
        groups, key=lambda each: (len(each), sum(usable[at] in required for at in each), sum(worth[at] for at in each))
    )
    inner = table[np.ix_(group, group)]
    medoid = _embedding(photos[usable[group[int(inner.sum(axis=1).argmin())]]], space)
    for number, index in enumerate(usable):
        likeness = Likeness(space, distance(space, medoid, _embedding(photos[index], space)))
        out[index] = replace(photos[index], likeness=likeness)
        if number not in group:
            out[index] = add_faults(out[index], "another_person")
    return out


def choose_photos(
    photos: Sequence[ScoredPhoto], most: int, required: Collection[int], limit: float
) -> tuple[list[ScoredPhoto], list[int]]:
    """Choose up to `most` photos; returns all with their verdicts, and the indices of the chosen, the best first.

    They are chosen one by one: likeness counts most, then quality, then how much a photo's pose and light differ from those
    chosen before (weights 4 : 2 : 1). Photos in `required` come first, whatever their faults. Where no photo is without
    fault, spare ones are chosen: a portrait from a turned head is better than none.
    """
    out = list(photos)
    chosen = [index for index in range(len(photos)) if index in required]
    open_indices = [index for index, photo in enumerate(photos) if photo.verdict == "use" and index not in required]
    if not open_indices and not chosen:
        open_indices = [
            index for index, photo in enumerate(photos) if photo.verdict == "spare" and not _is_excluded(photo)
        ]
    while open_indices and len(chosen) < most:
        best = max(open_indices, key=lambda index: _gain(photos, index, chosen, limit))
        open_indices.remove(best)
        chosen.append(best)
    for index in open_indices:
        out[index] = add_faults(out[index], "enough")
    for index in chosen:
        out[index] = replace(out[index], verdict="use")
    return out, chosen


def choose_references(photos: Sequence[ScoredPhoto], chosen: Sequence[int], most: int) -> list[int]:
    """Indices of up to `most` reference photos: the most frontal of the better half of `chosen`, then the best."""
    better = chosen[: max(1, (len(chosen) + 1) // 2)]
    lead = max(better, key=lambda index: _quality(photos[index]).frontality * _quality(photos[index]).eyes)
    return [lead, *[index for index in chosen if index != lead]][:most]


def difference_hash(image: Image) -> NDArray[np.bool_]:
    """Difference hash (dHash) of 256 bits: which of two neighbours is lighter, on a 17×16 grid."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return (small[:, 1:] > small[:, :-1]).ravel()


def _is_excluded(photo: ScoredPhoto) -> bool:
    return any(reason.code == "excluded" for reason in photo.reasons)


def _verdict(codes: Sequence[str]) -> Verdict:
    if not codes:
        return "use"
    return "spare" if set(codes) <= RESERVE else "refuse"


def _groups(table: NDArray[np.float64], limit: float) -> list[list[int]]:
    """Clusters of a distance table by average linkage, merged while their mean distance is at most `limit`."""
    if len(table) < 2:
        return [[index] for index in range(len(table))]
    tree = linkage(squareform(table, checks=False), "average")
    labels = fcluster(tree, limit, "distance")
    return [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]


def _gain(photos: Sequence[ScoredPhoto], index: int, chosen: Sequence[int], limit: float) -> float:
    photo = photos[index]
    alike = 1 - min(1.0, (photo.likeness.distance if photo.likeness else limit) / limit)
    new = min((_difference(photo, photos[other]) for other in chosen), default=0.0)
    return 4 * alike + 2 * _quality(photo).total + new


def _difference(one: ScoredPhoto, other: ScoredPhoto) -> float:
    """0..1: how much two photos differ in pose (30° count as wholly different) and light."""
    a, b = _pose(one), _pose(other)
    pose = np.hypot(a.yaw - b.yaw, a.pitch - b.pitch) / 30
    return float(min(1.0, pose + abs(_quality(one).exposure - _quality(other).exposure)))


def _value(photo: ScoredPhoto) -> float:
    return _quality(photo).total * (photo.selfie.scale if photo.selfie else 1.0)


def _quality(photo: ScoredPhoto) -> Quality:
    return photo.quality or Quality(0, 0, 0, 0, 0, 0, 0)


def _pose(photo: ScoredPhoto) -> Pose:
    return photo.face.pose if photo.face else Pose(0, 0, 0)


def _find_embedding(photo: ScoredPhoto, space: str) -> Vector | None:
    return photo.face.embeddings.get(space) if photo.face else None


def _embedding(photo: ScoredPhoto, space: str) -> Vector:
    vector = _find_embedding(photo, space)
    if vector is None:
        raise ValueError(f"{photo.name} has no {space} embedding")
    return vector
