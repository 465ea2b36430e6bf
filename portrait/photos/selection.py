"""Chooses the photos to learn from: one person, the best first."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Vector
from portrait.faces.likeness import distance, distance_matrix
from portrait.photos.quality import reason_for
from portrait.photos.reasons import RESERVE
from portrait.types import Likeness, Pose, Quality, ScoredPhoto, Verdict

DUPLICATE_BITS = 14
"""Two photos whose 256-bit difference hashes differ in at most this many bits are one picture: re-saved, resized or
re-exposed copies differed in 0 to 10 bits, the next frame of a moving head in 30 and more."""


def add_faults(photo: ScoredPhoto, *codes: str) -> ScoredPhoto:
    """The photo with more faults; the verdict follows from all of them."""
    reasons = photo.reasons + tuple(reason_for(code) for code in codes)
    return replace(photo, reasons=reasons, verdict=_verdict([each.code for each in reasons]))


def mark_duplicates(photos: Sequence[ScoredPhoto], kept: Collection[int]) -> list[ScoredPhoto]:
    """Of pictures that were given more than once the best stays; `kept` are indices that were asked for."""
    out = list(photos)
    alive = [index for index, photo in enumerate(photos) if photo.verdict != "refuse" and photo.selfie is not None]
    order = sorted(alive, key=lambda index: (index not in kept, -_worth(photos[index])))
    seen: list[tuple[str, NDArray[np.bool_]]] = []
    for index in order:
        selfie = photos[index].selfie
        if selfie is None:
            continue
        mark = (selfie.id, difference_hash(selfie.image))
        if any(mark[0] == other[0] or int(np.sum(mark[1] != other[1])) <= DUPLICATE_BITS for other in seen):
            out[index] = add_faults(photos[index], "duplicate")
        else:
            seen.append(mark)
    return out


def mark_other_people(
    photos: Sequence[ScoredPhoto], space: str, limit: float, kept: Collection[int]
) -> list[ScoredPhoto]:
    """Keep the largest group of faces alike, of equal ones that with most photos in `kept`; the others are another person.

    The photos come back with their likeness: the distance to the group's medoid. Groups are joined while their mean
    distance is at most `limit`, so one odd photo does not bridge two people.
    """
    out = list(photos)
    alive = [
        index for index, photo in enumerate(photos) if photo.verdict != "refuse" and _vector(photo, space) is not None
    ]
    if not alive:
        return out
    table = distance_matrix(space, [_known(photos[index], space) for index in alive])
    groups = _groups(table, limit)
    worth = [_worth(photos[index]) for index in alive]
    group = max(
        groups, key=lambda each: (len(each), sum(alive[at] in kept for at in each), sum(worth[at] for at in each))
    )
    inner = table[np.ix_(group, group)]
    medoid = _known(photos[alive[group[int(inner.sum(axis=1).argmin())]]], space)
    for place, index in enumerate(alive):
        likeness = Likeness(space, distance(space, medoid, _known(photos[index], space)))
        out[index] = replace(photos[index], likeness=likeness)
        if place not in group:
            out[index] = add_faults(out[index], "another_person")
    return out


def choose_photos(
    photos: Sequence[ScoredPhoto], most: int, kept: Collection[int], limit: float
) -> tuple[list[ScoredPhoto], list[int]]:
    """Mark what is used and what is kept in reserve; also the indices used, the best first.

    Taken one by one: likeness counts most, then quality, then how much a photo's pose and light differ from those taken
    (weights 4 : 2 : 1). Photos in `kept` are taken first, whatever their faults. Where nothing else is left, photos with a
    fault that only puts them in reserve are taken: a portrait from a turned head is better than none.
    """
    out = list(photos)
    taken = [index for index in range(len(photos)) if index in kept]
    open_ = [index for index, photo in enumerate(photos) if photo.verdict == "use" and index not in kept]
    if not open_ and not taken:
        open_ = [index for index, photo in enumerate(photos) if photo.verdict == "spare" and not _left_out(photo)]
    while open_ and len(taken) < most:
        best = max(open_, key=lambda index: _gain(photos, index, taken, limit))
        open_.remove(best)
        taken.append(best)
    for index in open_:
        out[index] = add_faults(out[index], "enough")
    for index in taken:
        out[index] = replace(out[index], verdict="use")
    return out, taken


def choose_references(photos: Sequence[ScoredPhoto], taken: Sequence[int], most: int) -> list[int]:
    """Which of the taken photos stand for the person: the most frontal of the better half, then the best."""
    better = taken[: max(1, (len(taken) + 1) // 2)]
    lead = max(better, key=lambda index: _quality(photos[index]).frontality * _quality(photos[index]).eyes)
    return [lead, *[index for index in taken if index != lead]][:most]


def difference_hash(image: Image) -> NDArray[np.bool_]:
    """256 bits that copies of one picture share: which of two neighbours is lighter, on a 17×16 grid."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return (small[:, 1:] > small[:, :-1]).ravel()


def _left_out(photo: ScoredPhoto) -> bool:
    return any(reason.code == "excluded" for reason in photo.reasons)


def _verdict(codes: Sequence[str]) -> Verdict:
    if not codes:
        return "use"
    return "spare" if set(codes) <= RESERVE else "refuse"


def _groups(table: NDArray[np.float64], limit: float) -> list[list[int]]:
    """Average linkage: join the two nearest groups until the nearest are further apart than `limit`."""
    groups = [[index] for index in range(len(table))]
    while len(groups) > 1:
        pairs = [(one, other) for one in range(len(groups)) for other in range(one)]
        apart = [float(table[np.ix_(groups[one], groups[other])].mean()) for one, other in pairs]
        nearest = int(np.argmin(apart))
        if apart[nearest] > limit:
            break
        one, other = pairs[nearest]
        groups[other] += groups.pop(one)
    return groups


def _gain(photos: Sequence[ScoredPhoto], index: int, taken: Sequence[int], limit: float) -> float:
    photo = photos[index]
    alike = 1 - min(1.0, (photo.likeness.distance if photo.likeness else limit) / limit)
    new = min((_difference(photo, photos[other]) for other in taken), default=0.0)
    return 4 * alike + 2 * _quality(photo).total + new


def _difference(one: ScoredPhoto, other: ScoredPhoto) -> float:
    """0..1: how much two photos differ in pose (30° count as wholly different) and light."""
    a, b = _pose(one), _pose(other)
    pose = np.hypot(a.yaw - b.yaw, a.pitch - b.pitch) / 30
    return float(min(1.0, pose + abs(_quality(one).exposure - _quality(other).exposure)))


def _worth(photo: ScoredPhoto) -> float:
    return _quality(photo).total * (photo.selfie.scale if photo.selfie else 1.0)


def _quality(photo: ScoredPhoto) -> Quality:
    return photo.quality or Quality(0, 0, 0, 0, 0, 0, 0)


def _pose(photo: ScoredPhoto) -> Pose:
    return photo.face.pose if photo.face else Pose(0, 0, 0)


def _vector(photo: ScoredPhoto, space: str) -> Vector | None:
    return photo.face.embeddings.get(space) if photo.face else None


def _known(photo: ScoredPhoto, space: str) -> Vector:
    vector = _vector(photo, space)
    if vector is None:
        raise ValueError(f"{photo.name} has no {space} embedding")
    return vector
