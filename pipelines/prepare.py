"""Selfies to training set: judge every photo, keep one person, choose, crop, enhance what needs it."""

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipelines import image_io as door
from pipelines.folders.training_sets import photos_to_dicts
from pipelines.settings import PrepareSettings as Knobs
from portrait.arrays import Image, Size, Vector
from portrait.errors import UserError
from portrait.faces.geometry import Frame, crop, fit, head_and_shoulders, move_face, scaled, size_of
from portrait.faces.likeness import distance, mean
from portrait.photos import buckets, selection
from portrait.photos.quality import alone, faults, judge, reason
from portrait.photos.reasons import TIPS, Thresholds
from portrait.ports import FaceFinder, Matter, Progress, Restorer
from portrait.types import Crop, Face, Quality, Reference, ScoredPhoto, Selfie, TrainingSet

JUDGED_SIDE = 1000
"""Long side at which photos are judged: a 12-megapixel JPEG decodes to it in a quarter of the time."""
JUDGED_FACE = 160
"""Faces narrower than this in the reduced photo are judged again from more pixels: the embedding reads 150."""
SURE = 0.8
"""Detections from this score on stand upright: upside-down faces scored 0.71 at most, upright ones mostly more."""
PLAIN = 45.0
"""Degrees of roll beyond which a quarter turn of the photo is tried."""
POOR = 0.7
"""Parts of the quality below this are worth enhancing; the size, from 0.45 (115 px of face) down."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the person overrules, as indices into the photos."""

    include: Collection[int] = ()
    exclude: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Prepare:
    """Judge, keep one person, choose, crop, enhance."""

    finder: FaceFinder
    restorer: Restorer
    matter: Matter | None = None
    """Given when the crops shall stand on white."""
    settings: Knobs = field(default_factory=Knobs)
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __call__(self, paths: Sequence[Path], overrides: Overrides, progress: Progress) -> TrainingSet:
        """The story in order; raises `UserError` when no photo is left, with the verdict on each in its details."""
        space, limit = self.finder.space, self.finder.same_person
        judged = _without(self._judge(paths, progress), overrides.exclude)
        judged = selection.without_twins(judged, overrides.include)
        judged = selection.one_person(judged, space, limit, overrides.include)
        judged, taken = selection.choose(judged, self.settings.most, overrides.include, limit)
        chosen = _chosen(paths, judged, taken)
        person = mean(space, [each.face.embeddings[space] for each in chosen])
        leading = [taken.index(index) for index in selection.references(judged, taken, self.settings.references)]
        cuts = self._cut(chosen, leading, progress)
        crops = [self._finished(cut, progress) for cut in self._enhance(cuts, person, progress)]
        return TrainingSet(
            crops=tuple(crops),
            references=tuple(reference for index in leading if (reference := cuts[index].reference) is not None),
            mean_embeddings={space: person},
            photos=tuple(judged),
            trigger=self.settings.trigger,
            class_word=self.settings.class_word,
        )

    def _judge(self, paths: Sequence[Path], progress: Progress) -> list[ScoredPhoto]:
        """A verdict on each photo by itself; files are decoded ahead while the engines look at the one before."""
        judged: list[ScoredPhoto] = []
        pool = ThreadPoolExecutor(max_workers=2)
        try:
            for path, selfie in zip(paths, pool.map(_read, paths), strict=True):
                progress(len(judged), len(paths), f"Looking at {path.name}")
                judged.append(self._look(path, selfie))
        finally:
            pool.shutdown(cancel_futures=True)
        progress(len(paths), len(paths), "All photos judged")
        return judged

    def _look(self, path: Path, selfie: "Selfie | UserError") -> ScoredPhoto:
        if isinstance(selfie, UserError):
            return ScoredPhoto(path.name, "refuse", (reason(selfie.code),))
        faces, turns = self._upright(selfie.image)
        selfie = _turned(selfie, turns)
        if not faces:
            return ScoredPhoto(path.name, "refuse", (reason("no_face"),), selfie)
        if faces[0].box.width < JUDGED_FACE and selfie.scale > 1.2:
            selfie, faces = self._closer(path, selfie, faces, turns)
        face = faces[0]
        quality = judge(selfie.image, face, selfie.scale, self.thresholds)
        codes = faults(selfie.image, face, selfie.scale, self.thresholds)
        if not alone(faces, self.thresholds):
            codes.insert(0, "several_faces")
        photo = ScoredPhoto(path.name, "use", (), selfie, face, quality, None, turns)
        return selection.with_fault(photo, *codes)

    def _closer(self, path: Path, selfie: Selfie, faces: list[Face], turns: int) -> tuple[Selfie, list[Face]]:
        """The photo from more pixels, and its faces in them; the largest is looked at again, in its surroundings alone."""
        side = round(max(selfie.image.shape[:2]) * JUDGED_FACE / faces[0].box.width * 1.25)
        near = _turned(door.read(path, side), turns)
        carried = [move_face(face, scaled(near.image.shape[1] / selfie.image.shape[1])) for face in faces]
        box = carried[0].box
        left, top = max(0, round(box.left - 1.2 * box.width)), max(0, round(box.top - 1.2 * box.height))
        right, bottom = round(box.right + 1.2 * box.width), round(box.bottom + 1.2 * box.height)
        for found in self.finder.faces(np.ascontiguousarray(near.image[top:bottom, left:right])):
            face = move_face(found, np.array([[1, 0, left], [0, 1, top]], np.float64))
            if face.embeddings and abs(face.box.centre[0] - box.centre[0]) < box.width / 2:
                return near, [face, *carried[1:]]
        return near, carried

    def _upright(self, image: Image) -> tuple[list[Face], int]:
        """Faces of the photo as it stands; else of the quarter turn (counter-clockwise) in which one is surest."""
        faces = self.finder.faces(image)
        if faces and abs(faces[0].pose.roll) <= PLAIN and faces[0].confidence >= SURE:
            return faces, 0
        turned = {turns: np.ascontiguousarray(np.rot90(image, turns)) for turns in (1, 3, 2)}
        seen = {0: faces} | {turns: self.finder.faces(each, embedded=0) for turns, each in turned.items()}
        # A sideways face is found too, but less surely; the photo is only turned for a clear gain.
        best = max(seen, key=lambda turns: _standing(seen[turns]) + (0.05 if turns == 0 else 0))
        return (faces, 0) if best == 0 else (self.finder.faces(turned[best]), best)

    def _cut(self, chosen: Sequence["_Chosen"], leading: Collection[int], progress: Progress) -> list["_Cut"]:
        """Crops in buckets of one long side; only references are decoded in full."""
        frames = [fit(head_and_shoulders(each.face), size_of(each.selfie.image)) for each in chosen]
        native = [frame.scaled(each.selfie.scale) for frame, each in zip(frames, chosen, strict=True)]
        side = buckets.long_side([Size(round(frame.width), round(frame.height)) for frame in native])
        cuts = []
        for index, (each, frame) in enumerate(zip(chosen, frames, strict=True)):
            progress(index, len(chosen), f"Cropping {each.photo.name}")
            # A tenth more than the bucket needs, so that rounding enlarges nothing.
            needed = round(1.1 * side / max(frame.width, frame.height) * max(each.selfie.image.shape[:2]))
            selfie = _turned(door.read(each.path, None if index in leading else needed), each.photo.quarter_turns)
            cuts.append(_cut_out(each, selfie, frame, side, index in leading))
        return cuts

    def _enhance(self, cuts: Sequence["_Cut"], person: Vector, progress: Progress) -> list["_Cut"]:
        """Restore the poorest, at most half of the set, and only where the likeness does not fall."""
        needy = [index for index, cut in enumerate(cuts) if _need(cut.quality) > 0]
        poorest = sorted(needy, key=lambda index: -_need(cuts[index].quality))[: len(cuts) // 2]
        out = list(cuts)
        for done, index in enumerate(poorest):
            cut = cuts[index]
            progress(done, len(poorest), f"Enhancing {cut.name}", cut.image)
            better = self.restorer.restore(cut.image, cut.face)
            if self._distance(better, person) <= self._distance(cut.image, person):
                out[index] = replace(cut, image=better, before=cut.image)
        return out

    def _distance(self, image: Image, person: Vector) -> float:
        """Distance of the face in a crop to the person; infinite where none is found any more."""
        space = self.finder.space
        faces = self.finder.faces(image)
        return distance(space, faces[0].embeddings[space], person) if faces else float("inf")

    def _finished(self, cut: "_Cut", progress: Progress) -> Crop:
        image = cut.image
        if self.matter is not None:
            progress(0, 1, f"Cutting out {cut.name}")
            matte = self.matter.matte(image, cut.face)[..., None]
            image = np.asarray(image * matte + 255 * (1 - matte), np.uint8)
        return Crop(image, caption(cut.face, self.settings), cut.name, cut.before)


@dataclass(frozen=True, slots=True, eq=False)
class _Chosen:
    """A photo that is used, with the path to decode it again."""

    path: Path
    photo: ScoredPhoto
    selfie: Selfie
    face: Face
    quality: Quality


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """A crop on its way, with its face in its own pixels."""

    name: str
    image: Image
    face: Face
    quality: Quality
    reference: Reference | None = None
    before: Image | None = None


def caption(face: Face, knobs: Knobs) -> str:
    """What the crop shows, in words that were measured: the person, and where the head points when it is turned."""
    words = f"a photo of {knobs.trigger} {knobs.class_word}"
    if abs(face.pose.yaw) >= 20:
        words += f", head turned to the {'right' if face.pose.yaw > 0 else 'left'}"
    return words


def _read(path: Path) -> "Selfie | UserError":
    try:
        return door.read(path, JUDGED_SIDE)
    except UserError as error:
        return error


def _turned(selfie: Selfie, turns: int) -> Selfie:
    if turns == 0:
        return selfie
    native = selfie.native_size if turns == 2 else Size(selfie.native_size.height, selfie.native_size.width)
    return replace(selfie, image=np.ascontiguousarray(np.rot90(selfie.image, turns)), native=native)


def _standing(faces: Sequence[Face]) -> float:
    """How surely a photo stands upright: the score of its largest face, less when that lies on its side."""
    if not faces:
        return 0.0
    return faces[0].confidence - (0.5 if abs(faces[0].pose.roll) > PLAIN else 0.0)


def _cut_out(chosen: _Chosen, selfie: Selfie, frame: Frame, side: int, reference: bool) -> _Cut:
    """Cut one crop; `frame` is in judged pixels, `selfie` may hold more of them."""
    up = selfie.image.shape[1] / chosen.selfie.image.shape[1]
    face = move_face(chosen.face, scaled(up))
    size = buckets.nearest(frame.width, frame.height, side)
    shaped = frame.scaled(up).shaped(size.width / size.height)
    kept = Reference(chosen.photo.name, selfie.image, face, chosen.quality) if reference else None
    cut = crop(selfie.image, shaped, size)
    return _Cut(chosen.photo.name, cut, move_face(face, shaped.to(size)), chosen.quality, kept)


def _need(quality: Quality) -> float:
    """How much a photo would gain from enhancement; 0 for a good one."""
    return sum(
        max(0.0, limit - part)
        for part, limit in ((quality.sharpness, POOR), (quality.exposure, POOR), (quality.size, 0.45))
    )


def _without(photos: Sequence[ScoredPhoto], excluded: Collection[int]) -> list[ScoredPhoto]:
    return [
        selection.with_fault(photo, "excluded") if index in excluded else photo for index, photo in enumerate(photos)
    ]


def _chosen(paths: Sequence[Path], photos: Sequence[ScoredPhoto], taken: Sequence[int]) -> list[_Chosen]:
    """What the rest of the flow works on; raises `UserError` when there is nothing to work on."""
    details = {"photos": photos_to_dicts(photos)}
    if not taken:
        raise UserError("no_usable_photos", _why_none(photos), details)
    chosen = []
    for index in taken:
        photo = photos[index]
        if photo.selfie is None or photo.face is None or photo.quality is None:
            raise UserError("cannot_include", f"{photo.name} cannot be used. {photo.reasons[0].tip}", details)
        chosen.append(_Chosen(paths[index], photo, photo.selfie, photo.face, photo.quality))
    return chosen


def _why_none(photos: Sequence[ScoredPhoto]) -> str:
    """One sentence for a set with nothing in it: the commonest fault and what helps."""
    if len(photos) == 1:
        return f"The photo cannot be used. {photos[0].reasons[0].tip}"
    code, count = Counter(each.code for photo in photos for each in photo.reasons).most_common(1)[0]
    return f"None of the {len(photos)} photos can be used; {count} for the same reason. {TIPS[code]}"
