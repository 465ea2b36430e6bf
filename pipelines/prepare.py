"""Builds a training set from selfies: judge every photo, keep one person, choose, crop, enhance what needs it."""

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipelines import image_io
from pipelines.folders.training_sets import photos_to_dicts
from pipelines.settings import PrepareSettings
from portrait.arrays import Image, Size, Vector
from portrait.errors import UserError
from portrait.faces.geometry import (
    RotatedRect,
    crop,
    fit_inside,
    head_and_shoulders_rect,
    image_size,
    scaling_matrix,
    transform_face,
)
from portrait.faces.likeness import distance, mean_embedding
from portrait.photos import buckets, selection
from portrait.photos.quality import find_faults, has_main_face, judge, reason_for
from portrait.photos.reasons import TIPS, Thresholds
from portrait.ports import FaceFinder, Matter, Progress, Restorer
from portrait.types import Crop, Face, Quality, Reference, ScoredPhoto, Selfie, TrainingSet

JUDGED_SIDE = 1000
"""Long side at which photos are judged: a 12-megapixel JPEG decodes to it in a quarter of the time."""
JUDGED_FACE = 160
"""Faces narrower than this in the reduced photo are judged again from more pixels: the embedding reads 150."""
MIN_CONFIDENCE = 0.8
"""Detections from this score on stand upright: upside-down faces scored 0.71 at most, upright ones mostly more."""
MAX_ROLL = 45.0
"""Degrees of roll beyond which a quarter turn of the photo is tried."""
POOR_QUALITY = 0.7
"""Parts of the quality below this are worth enhancing; the size, from 0.45 (115 px of face) down."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Photos that the person includes or excludes whatever the verdict, as indices into the photos."""

    include: Collection[int] = ()
    exclude: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Prepare:
    """Builds a training set from photo files."""

    finder: FaceFinder
    restorer: Restorer
    matter: Matter | None = None
    """Given when the crops shall stand on white."""
    settings: PrepareSettings = field(default_factory=PrepareSettings)
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __call__(self, paths: Sequence[Path], overrides: Overrides, progress: Progress) -> TrainingSet:
        """Build the training set; raises `UserError` (`no_usable_photos`, `cannot_include`), the verdicts in its details."""
        space, limit = self.finder.space, self.finder.same_person
        judged = _exclude(self._judge(paths, progress), overrides.exclude)
        judged = selection.mark_duplicates(judged, overrides.include)
        judged = selection.mark_other_people(judged, space, limit, overrides.include)
        judged, taken = selection.choose_photos(judged, self.settings.most, overrides.include, limit)
        chosen = _take_chosen(paths, judged, taken)
        person = mean_embedding(space, [each.face.embeddings[space] for each in chosen])
        leading = [taken.index(index) for index in selection.choose_references(judged, taken, self.settings.references)]
        cuts = self._cut_crops(chosen, leading, progress)
        crops = [self._make_crop(cut, progress) for cut in self._enhance(cuts, person, progress)]
        return TrainingSet(
            crops=tuple(crops),
            references=tuple(reference for index in leading if (reference := cuts[index].reference) is not None),
            mean_embeddings={space: person},
            photos=tuple(judged),
            trigger=self.settings.trigger,
            class_word=self.settings.class_word,
        )

    def _judge(self, paths: Sequence[Path], progress: Progress) -> list[ScoredPhoto]:
        """Give each photo a verdict by itself; files are decoded ahead while the engines work on the one before."""
        judged: list[ScoredPhoto] = []
        pool = ThreadPoolExecutor(max_workers=2)
        try:
            for path, selfie in zip(paths, pool.map(_read, paths), strict=True):
                progress(len(judged), len(paths), f"Looking at {path.name}")
                judged.append(self._judge_photo(path, selfie))
        finally:
            pool.shutdown(cancel_futures=True)
        progress(len(paths), len(paths), "All photos judged")
        return judged

    def _judge_photo(self, path: Path, selfie: "Selfie | UserError") -> ScoredPhoto:
        if isinstance(selfie, UserError):
            return ScoredPhoto(path.name, "refuse", (reason_for(selfie.code),))
        faces, turns = self._find_upright(selfie.image)
        selfie = _rotate(selfie, turns)
        if not faces:
            return ScoredPhoto(path.name, "refuse", (reason_for("no_face"),), selfie)
        if faces[0].box.width < JUDGED_FACE and selfie.scale > 1.2:
            selfie, faces = self._read_larger(path, selfie, faces, turns)
        face = faces[0]
        quality = judge(selfie.image, face, selfie.scale, self.thresholds)
        codes = find_faults(selfie.image, face, selfie.scale, self.thresholds)
        if not has_main_face(faces, self.thresholds):
            codes.insert(0, "several_faces")
        photo = ScoredPhoto(path.name, "use", (), selfie, face, quality, None, turns)
        return selection.add_faults(photo, *codes)

    def _read_larger(self, path: Path, selfie: Selfie, faces: list[Face], turns: int) -> tuple[Selfie, list[Face]]:
        """Decode the photo again with more pixels, and return its faces in them; the largest one is detected again."""
        side = round(max(selfie.image.shape[:2]) * JUDGED_FACE / faces[0].box.width * 1.25)
        near = _rotate(image_io.read(path, side), turns)
        carried = [transform_face(face, scaling_matrix(near.image.shape[1] / selfie.image.shape[1])) for face in faces]
        box = carried[0].box
        left, top = max(0, round(box.left - 1.2 * box.width)), max(0, round(box.top - 1.2 * box.height))
        right, bottom = round(box.right + 1.2 * box.width), round(box.bottom + 1.2 * box.height)
        for found in self.finder.faces(np.ascontiguousarray(near.image[top:bottom, left:right])):
            face = transform_face(found, np.array([[1, 0, left], [0, 1, top]], np.float64))
            if face.embeddings and abs(face.box.centre[0] - box.centre[0]) < box.width / 2:
                return near, [face, *carried[1:]]
        return near, carried

    def _find_upright(self, image: Image) -> tuple[list[Face], int]:
        """Return the faces and the counter-clockwise quarter turns (0 to 3) at which the largest is detected most surely."""
        faces = self.finder.faces(image)
        if faces and abs(faces[0].pose.roll) <= MAX_ROLL and faces[0].confidence >= MIN_CONFIDENCE:
            return faces, 0
        turned = {turns: np.ascontiguousarray(np.rot90(image, turns)) for turns in (1, 3, 2)}
        faces_by_turns = {0: faces} | {turns: self.finder.faces(each, embedded=0) for turns, each in turned.items()}
        # A sideways face is found too, but less surely; the photo is only turned for a clear gain.
        best = max(
            faces_by_turns, key=lambda turns: _upright_score(faces_by_turns[turns]) + (0.05 if turns == 0 else 0)
        )
        return (faces, 0) if best == 0 else (self.finder.faces(turned[best]), best)

    def _cut_crops(
        self, chosen: Sequence["_ChosenPhoto"], leading: Collection[int], progress: Progress
    ) -> list["_DraftCrop"]:
        """Cut the crops, in buckets of one long side; only references are decoded in full."""
        frames = [fit_inside(head_and_shoulders_rect(each.face), image_size(each.selfie.image)) for each in chosen]
        native = [frame.scale(each.selfie.scale) for frame, each in zip(frames, chosen, strict=True)]
        side = buckets.long_side([Size(round(frame.width), round(frame.height)) for frame in native])
        cuts = []
        for index, (each, frame) in enumerate(zip(chosen, frames, strict=True)):
            progress(index, len(chosen), f"Cropping {each.photo.name}")
            # A tenth more than the bucket needs, so that rounding enlarges nothing.
            needed = round(1.1 * side / max(frame.width, frame.height) * max(each.selfie.image.shape[:2]))
            selfie = _rotate(image_io.read(each.path, None if index in leading else needed), each.photo.quarter_turns)
            cuts.append(_cut_crop(each, selfie, frame, side, index in leading))
        return cuts

    def _enhance(self, cuts: Sequence["_DraftCrop"], person: Vector, progress: Progress) -> list["_DraftCrop"]:
        """Restore the faces of poorest quality, at most half of the set, and only where the likeness does not fall."""
        candidates = [index for index, cut in enumerate(cuts) if _enhancement_need(cut.quality) > 0]
        poorest = sorted(candidates, key=lambda index: -_enhancement_need(cuts[index].quality))[: len(cuts) // 2]
        out = list(cuts)
        for done, index in enumerate(poorest):
            cut = cuts[index]
            progress(done, len(poorest), f"Enhancing {cut.name}", cut.image)
            better = self.restorer.restore(cut.image, cut.face)
            if self._distance(better, person) <= self._distance(cut.image, person):
                out[index] = replace(cut, image=better, before=cut.image)
        return out

    def _distance(self, image: Image, person: Vector) -> float:
        """Return the distance of the face in a crop to the person; infinite where none is found any more."""
        space = self.finder.space
        faces = self.finder.faces(image)
        return distance(space, faces[0].embeddings[space], person) if faces else float("inf")

    def _make_crop(self, cut: "_DraftCrop", progress: Progress) -> Crop:
        image = cut.image
        if self.matter is not None:
            progress(0, 1, f"Cutting out {cut.name}")
            matte = self.matter.matte(image, cut.face)[..., None]
            image = np.asarray(image * matte + 255 * (1 - matte), np.uint8)
        return Crop(image, caption(cut.face, self.settings), cut.name, cut.before)


@dataclass(frozen=True, slots=True, eq=False)
class _ChosenPhoto:
    """A photo that is used, with the path to decode it again."""

    path: Path
    photo: ScoredPhoto
    selfie: Selfie
    face: Face
    quality: Quality


@dataclass(frozen=True, slots=True, eq=False)
class _DraftCrop:
    """A crop before enhancement and captioning, with its face in the crop's own pixels."""

    name: str
    image: Image
    face: Face
    quality: Quality
    reference: Reference | None = None
    before: Image | None = None


def caption(face: Face, settings: PrepareSettings) -> str:
    """Return the caption of a crop: the person, and the side to which the head is turned from 20° of yaw on."""
    words = f"a photo of {settings.trigger} {settings.class_word}"
    if abs(face.pose.yaw) >= 20:
        words += f", head turned to the {'right' if face.pose.yaw > 0 else 'left'}"
    return words


def _read(path: Path) -> "Selfie | UserError":
    try:
        return image_io.read(path, JUDGED_SIDE)
    except UserError as error:
        return error


def _rotate(selfie: Selfie, turns: int) -> Selfie:
    if turns == 0:
        return selfie
    native = selfie.native_size if turns == 2 else Size(selfie.native_size.height, selfie.native_size.width)
    return replace(selfie, image=np.ascontiguousarray(np.rot90(selfie.image, turns)), native_size=native)


def _upright_score(faces: Sequence[Face]) -> float:
    """Score how surely a photo stands upright: the confidence of its largest face, less when that lies on its side."""
    if not faces:
        return 0.0
    return faces[0].confidence - (0.5 if abs(faces[0].pose.roll) > MAX_ROLL else 0.0)


def _cut_crop(chosen: _ChosenPhoto, selfie: Selfie, frame: RotatedRect, side: int, is_reference: bool) -> _DraftCrop:
    """Cut one crop; `frame` is in the pixels of the judged photo, `selfie` may hold more of them."""
    up = selfie.image.shape[1] / chosen.selfie.image.shape[1]
    face = transform_face(chosen.face, scaling_matrix(up))
    size = buckets.nearest_bucket(frame.width, frame.height, side)
    shaped = frame.scale(up).crop_to_aspect(size.width / size.height)
    reference = Reference(chosen.photo.name, selfie.image, face, chosen.quality) if is_reference else None
    cut = crop(selfie.image, shaped, size)
    return _DraftCrop(chosen.photo.name, cut, transform_face(face, shaped.matrix_to(size)), chosen.quality, reference)


def _enhancement_need(quality: Quality) -> float:
    """Return how much a photo would gain from enhancement; 0 for a good one."""
    return sum(
        max(0.0, limit - part)
        for part, limit in ((quality.sharpness, POOR_QUALITY), (quality.exposure, POOR_QUALITY), (quality.size, 0.45))
    )


def _exclude(photos: Sequence[ScoredPhoto], excluded: Collection[int]) -> list[ScoredPhoto]:
    return [
        selection.add_faults(photo, "excluded") if index in excluded else photo for index, photo in enumerate(photos)
    ]


def _take_chosen(paths: Sequence[Path], photos: Sequence[ScoredPhoto], taken: Sequence[int]) -> list[_ChosenPhoto]:
    """Return the chosen photos with their paths; raises `UserError` (`no_usable_photos`, `cannot_include`)."""
    details = {"photos": photos_to_dicts(photos)}
    if not taken:
        raise UserError("no_usable_photos", _refusal_message(photos), details)
    chosen = []
    for index in taken:
        photo = photos[index]
        if photo.selfie is None or photo.face is None or photo.quality is None:
            raise UserError("cannot_include", f"{photo.name} cannot be used. {photo.reasons[0].tip}", details)
        chosen.append(_ChosenPhoto(paths[index], photo, photo.selfie, photo.face, photo.quality))
    return chosen


def _refusal_message(photos: Sequence[ScoredPhoto]) -> str:
    """Return one sentence for a set without a usable photo: the commonest fault and what helps."""
    if len(photos) == 1:
        return f"The photo cannot be used. {photos[0].reasons[0].tip}"
    code, count = Counter(each.code for photo in photos for each in photo.reasons).most_common(1)[0]
    return f"None of the {len(photos)} photos can be used; {count} for the same reason. {TIPS[code]}"
