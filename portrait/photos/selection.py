"""Selects the photos to train on: no duplicates, the best and most varied first; references that serve all that they can."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image
from portrait.photos.quality import reason_for
from portrait.photos.reasons import RESERVE
from portrait.types import PhotoUses, Pose, Quality, ScoredPhoto, Verdict

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
    order = sorted(usable, key=lambda index: (index not in required, -photo_value(photos[index])))
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
            index for index, photo in enumerate(photos) if photo.verdict == "spare" and not is_excluded(photo)
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
    """Indices of up to `most` reference photos: the most frontal of the better half of `chosen`, then the best.

    What only later ones of `chosen` can serve (ID photos, studio portraits, templates) has one of them take a place. A photo
    with sunglasses is a reference only where there is no other.
    """
    chosen = [index for index in chosen if not _has(photos[index], "sunglasses")] or list(chosen)
    better = chosen[: max(1, (len(chosen) + 1) // 2)]
    lead = max(better, key=lambda index: _quality(photos[index]).frontality * _quality(photos[index]).eyes)
    taken = [lead]
    for serves in _KINDS:
        able = [index for index in chosen if serves(photos[index].uses or PhotoUses())]
        if able and not set(able) & set(taken) and len(taken) < most:
            taken.append(able[0])
    taken += [index for index in chosen if index not in taken][: most - len(taken)]
    return [lead, *[index for index in chosen if index in taken and index != lead]]


_KINDS: tuple[Callable[[PhotoUses], bool], ...] = (
    lambda uses: uses.idphoto,
    lambda uses: "head_and_shoulders" in uses.compositions,
    lambda uses: bool(uses.compositions),
    lambda uses: uses.template == "front",
    lambda uses: bool(uses.template),
)
"""What references together shall serve where any photo does."""


def difference_hash(image: Image) -> NDArray[np.bool_]:
    """Difference hash (dHash) of 256 bits: which of two neighbours is lighter, on a 17×16 grid."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return (small[:, 1:] > small[:, :-1]).ravel()


def is_excluded(photo: ScoredPhoto) -> bool:
    """Whether the person left the photo out."""
    return _has(photo, "excluded")


def _has(photo: ScoredPhoto, code: str) -> bool:
    return any(reason.code == code for reason in photo.reasons)


def _verdict(codes: Sequence[str]) -> Verdict:
    if not codes:
        return "use"
    return "spare" if set(codes) <= RESERVE else "refuse"


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


def photo_value(photo: ScoredPhoto) -> float:
    """How good a photo is: its quality, more where it has more pixels."""
    return _quality(photo).total * (photo.selfie.scale if photo.selfie else 1.0)


def _quality(photo: ScoredPhoto) -> Quality:
    return photo.quality or Quality(0, 0, 0, 0, 0, 0, 0)


def _pose(photo: ScoredPhoto) -> Pose:
    return photo.face.pose if photo.face else Pose(0, 0, 0)
