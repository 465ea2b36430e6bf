"""Builds a training set from selfies: judge every photo, keep one person, choose, crop, enhance what needs it."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipelines import image_io
from pipelines.enhance import Enhance
from pipelines.folders.training_sets import photos_to_dicts
from pipelines.guards.pictures import PictureGuard
from pipelines.judging import PhotoJudge, Place, Point, cut_out, full_side, read_part, rotate
from pipelines.memory import return_memory
from pipelines.settings import PrepareSettings
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.faces.geometry import (
    RotatedRect,
    bounding_box,
    box_slices,
    crop,
    fit_inside,
    head_and_shoulders_rect,
    image_size,
    scaling_matrix,
    transform_face,
)
from portrait.faces.likeness import mean_embedding
from portrait.images.windows import Window
from portrait.photos import buckets, selection
from portrait.photos.reasons import TIPS, Thresholds
from portrait.ports import AttributeEstimator, Attributes, FaceFinder, Matter, Progress, Restorer, Upscaler
from portrait.traits import asks_guardian, estimate_attributes, measure_traits, with_traits
from portrait.types import (
    Crop,
    Face,
    Quality,
    Reference,
    ScoredPhoto,
    Selfie,
    SetUses,
    TrainingSet,
)
from portrait.uses import set_uses

REFERENCE_PIXELS = 25_000_000
"""Pixels of a photo that is kept whole as the one reference, as cameras mostly have them; of more, it is reduced."""
ALL_PIXELS = 60_000_000
"""Of all references together, as they are held at once: 12 million each of the usual five, as phones have them."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Photos that the person includes or excludes whatever the verdict, as indices into the photos."""

    include: Collection[int] = ()
    exclude: Collection[int] = ()
    faces: Mapping[int, Point] = field(default_factory=dict)
    """Where the person's face is, in photos of which it was said; a photo is judged by it alone."""
    traits: Mapping[str, str] = field(default_factory=dict)
    """What the person chose to say of themselves, for captions; see `portrait.traits`."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Builds a training set from photo files."""

    finder: FaceFinder
    restorer: Restorer
    matter: Matter | None = None
    """Given when the crops shall stand on white."""
    settings: PrepareSettings = field(default_factory=PrepareSettings)
    thresholds: Thresholds = field(default_factory=Thresholds)
    upscaler: Upscaler | None = None
    """Gives small faces of references their detail; without one they stay as they are."""
    silhouettes: Matter | None = None
    """Finds the outline of people, by which it is known what a photo serves; without one that is not told."""
    attributes: AttributeEstimator | None = None
    """Estimates sex and age, which help to tell people apart where their faces do not."""
    guard: PictureGuard | None = None
    """Refuses photos that may not be used."""

    def __call__(
        self, paths: Sequence[Path], overrides: Overrides, progress: Progress, known: Sequence[Reference] = ()
    ) -> TrainingSet:
        """Build the training set; raises `UserError` (`no_usable_photos`, `cannot_include`), the verdicts in its details, and
        `OperatorError` (`guard_missing`).

        `known`: references of an earlier set of the person, whose small faces need not be given their detail again.
        """
        # With SciPy, which a worker with nothing to do does not hold.
        from portrait.photos import people

        space, limit = self.finder.space, self.finder.same_person
        judged = _exclude(self._judge.judge_files(paths, progress, overrides.faces), overrides.exclude)
        return_memory()  # photos are decoded in full next
        judged = selection.mark_duplicates(judged, overrides.include)
        wanted = {*overrides.include, *overrides.faces}
        judged, questions = people.separate_people(judged, space, limit, wanted, self._estimate)
        judged = self._take_included(paths, judged, overrides.include)
        judged, taken = selection.choose_photos(judged, self.settings.most, overrides.include, limit)
        read = {at: self._estimate(judged[at]) for at in taken}
        judged = [_read_traits(photo, read[at]) if at in read else photo for at, photo in enumerate(judged)]
        chosen = _take_chosen(paths, judged, taken, space)
        person = mean_embedding(space, [each.face.embeddings[space] for each in chosen])
        reference_indices = selection.choose_references(judged, taken, self.settings.references)
        leading = [taken.index(index) for index in reference_indices]
        cuts = self._cut_crops(chosen, leading, progress)
        crops = [self._make_crop(cut, progress) for cut in self._restore_crops(cuts, progress)]
        references = [reference for index in leading if (reference := cuts[index].reference) is not None]
        training = TrainingSet(
            crops=tuple(crops),
            references=self._enhance(known).enlarge_references(references, progress),
            mean_embeddings={space: person},
            photos=tuple(judged),
            trigger=self.settings.trigger,
            class_word=self.settings.class_word,
            questions=questions,
            uses=self._set_uses([judged[index] for index in reference_indices], len(crops)),
            asks_guardian=asks_guardian([each for each in read.values() if each is not None]),
        )
        return with_traits(training, overrides.traits)

    def _set_uses(self, references: Sequence[ScoredPhoto], photos: int) -> SetUses | None:
        known = [photo.uses for photo in references if photo.uses is not None]
        return set_uses(known, photos) if known else None

    @property
    def _judge(self) -> PhotoJudge:
        return PhotoJudge(self.finder, self.thresholds, self.silhouettes, self.guard)

    def _take_included(
        self, paths: Sequence[Path], judged: Sequence[ScoredPhoto], included: Collection[int]
    ) -> list[ScoredPhoto]:
        """Judge included photos of several people by the face that is the person of the other photos."""
        from portrait.photos import people

        out, space = list(judged), self.finder.space
        vectors = [people.embedding_of(photo, space) for photo in judged if photo.verdict == "use"]
        known = [vector for vector in vectors if vector is not None]
        for at in included if known else ():
            if any(reason.code == "several_faces" for reason in judged[at].reasons):
                found = self._judge.judge_person(paths[at], mean_embedding(space, known))
                out[at] = replace(found, name=judged[at].name)
        return out

    def _estimate(self, photo: ScoredPhoto) -> Attributes | None:
        """Estimate sex and age of a photo's face; None where that would be a guess."""
        if photo.selfie is None or photo.face is None:
            return None
        return estimate_attributes(self.attributes, photo.selfie.image, photo.face)

    def _cut_crops(
        self, chosen: Sequence["_ChosenPhoto"], leading: Collection[int], progress: Progress
    ) -> list["_DraftCrop"]:
        """Cut the crops, in buckets of one long side; only references are decoded in full, up to `REFERENCE_PIXELS`."""
        frames = [fit_inside(head_and_shoulders_rect(each.face), image_size(each.selfie.image)) for each in chosen]
        native = [frame.scale(each.selfie.scale) for frame, each in zip(frames, chosen, strict=True)]
        side = buckets.long_side([Size(round(frame.width), round(frame.height)) for frame in native])
        pool, cuts = ThreadPoolExecutor(max_workers=2), []
        try:
            # Of what is cut before its turn all is kept anyway.
            begun = [
                pool.submit(_read_crop, each, frame, side, len(leading) if index in leading else 0)
                for index, (each, frame) in enumerate(zip(chosen, frames, strict=True))
            ]
            for each, cut in zip(chosen, begun, strict=True):
                progress(len(cuts), len(chosen), f"Cropping {each.photo.name}")
                cuts.append(cut.result())
        finally:
            pool.shutdown(cancel_futures=True)
        return cuts

    def _enhance(self, known: Sequence[Reference] = ()) -> Enhance:
        before = {each.selfie: each for each in known if each.enlarged > 1}
        return Enhance(self.finder, self.restorer, self.upscaler, self.settings.small_face, before)

    def _restore_crops(self, cuts: Sequence["_DraftCrop"], progress: Progress) -> list["_DraftCrop"]:
        """Restore the poorest crops."""
        crops = [Reference(cut.name, cut.image, cut.face, cut.quality) for cut in cuts]
        better = self._enhance().restore_crops(crops, progress)
        return [
            replace(cut, image=better[place], before=cut.image) if place in better else cut
            for place, cut in enumerate(cuts)
        ]

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


@dataclass(frozen=True, slots=True, eq=False)
class _Pixels:
    """Pixels that a crop is cut from."""

    image: Image
    enlarged: float
    """By how much it is larger than the judged photo."""
    corner: tuple[int, int] = (0, 0)
    """Left and top of the image in the whole photo, where it is a part of it."""
    selfie: Selfie | None = None
    """The photo, where it is kept as a reference."""


def _reference_share(size: Size, count: int) -> float:
    """By how much the sides of a photo of this size are reduced to keep it as one of so many references."""
    return min(1.0, (min(REFERENCE_PIXELS, ALL_PIXELS / count) / (size.width * size.height)) ** 0.5)


def _read_reference(chosen: _ChosenPhoto, count: int) -> "_Pixels":
    """Decode a photo that becomes one of `count` references."""
    share = _reference_share(chosen.selfie.native_size, count)
    whole = full_side(chosen.selfie, chosen.photo.window) * chosen.selfie.scale
    photo = image_io.read(chosen.path, round(whole * share) if share < 1 else None)
    selfie = cut_out(rotate(photo, chosen.photo.quarter_turns), chosen.photo.window)
    return _Pixels(selfie.image, selfie.image.shape[1] / chosen.selfie.image.shape[1], selfie=selfie)


def _read_frame(chosen: _ChosenPhoto, frame: RotatedRect, side: int) -> "_Pixels":
    """Decode what a crop of a long side of `side` pixels shows of a photo; `frame` is in the pixels of the judged photo."""
    # A tenth more than the crop needs, so that rounding enlarges nothing.
    needed = round(1.1 * side / max(frame.width, frame.height) * full_side(chosen.selfie, chosen.photo.window))
    enlarged: list[float] = []

    def around(size: Size) -> Window:
        enlarged.append(size.width / chosen.selfie.image.shape[1])
        box = bounding_box(frame.scale(enlarged[0]).corners().astype(np.float32))
        # Room for the filter that turns the crop.
        rows, columns = box_slices(box, (size.height, size.width), room=0.02)
        return Window(columns.start, rows.start, columns.stop, rows.stop)

    image, part = read_part(chosen.path, needed, Place(chosen.photo.quarter_turns, chosen.photo.window), around)
    return _Pixels(image, enlarged[0], (part.left, part.top))


def _read_crop(chosen: _ChosenPhoto, frame: RotatedRect, side: int, references: int) -> _DraftCrop:
    """Decode a photo and cut its crop; it becomes one of so many references, or none."""
    pixels = _read_reference(chosen, references) if references else _read_frame(chosen, frame, side)
    return _cut_crop(chosen, pixels, frame, side)


def caption(face: Face, settings: PrepareSettings) -> str:
    """Return the caption of a crop: the person, and the side to which the head is turned from 20° of yaw on."""
    words = f"a photo of {settings.trigger} {settings.class_word}"
    if abs(face.pose.yaw) >= 20:
        words += f", head turned to the {'right' if face.pose.yaw > 0 else 'left'}"
    return words


def _cut_crop(chosen: _ChosenPhoto, pixels: "_Pixels", frame: RotatedRect, side: int) -> _DraftCrop:
    """Cut one crop; `frame` is in the pixels of the judged photo."""
    face = transform_face(chosen.face, scaling_matrix(pixels.enlarged))
    size = buckets.nearest_bucket(frame.width, frame.height, side)
    shaped = frame.scale(pixels.enlarged).crop_to_aspect(size.width / size.height)
    left, top = pixels.corner
    centre = shaped.centre[0] - left, shaped.centre[1] - top
    name, selfie = chosen.photo.name, pixels.selfie
    return _DraftCrop(
        name,
        crop(pixels.image, replace(shaped, centre=centre), size),
        transform_face(face, shaped.matrix_to(size)),
        chosen.quality,
        None if selfie is None else Reference(name, selfie.image, face, chosen.quality, selfie.id),
    )


def _read_traits(photo: ScoredPhoto, read: Attributes | None) -> ScoredPhoto:
    """A photo with what it shows of the person, to be offered to them."""
    if photo.selfie is None or photo.face is None:
        return photo
    return replace(photo, traits=measure_traits(photo.selfie.image, photo.face, read))


def _exclude(photos: Sequence[ScoredPhoto], excluded: Collection[int]) -> list[ScoredPhoto]:
    return [
        selection.add_faults(photo, "excluded") if index in excluded else photo for index, photo in enumerate(photos)
    ]


def _take_chosen(
    paths: Sequence[Path], photos: Sequence[ScoredPhoto], taken: Sequence[int], space: str
) -> list[_ChosenPhoto]:
    """Return the chosen photos with their paths; raises `UserError` (`no_usable_photos`, `cannot_include`)."""
    details = {"photos": photos_to_dicts(photos)}
    if not taken:
        raise UserError("no_usable_photos", _refusal_message(photos), details)
    chosen = []
    for index in taken:
        photo = photos[index]
        known = photo.face is not None and space in photo.face.embeddings
        if photo.selfie is None or photo.face is None or photo.quality is None or not known:
            raise UserError("cannot_include", f"{photo.name} cannot be used. {photo.reasons[0].tip}", details)
        chosen.append(_ChosenPhoto(paths[index], photo, photo.selfie, photo.face, photo.quality))
    return chosen


def _refusal_message(photos: Sequence[ScoredPhoto]) -> str:
    """Return one sentence for a set without a usable photo: the commonest fault and what helps."""
    if len(photos) == 1:
        return f"The photo cannot be used. {photos[0].reasons[0].tip}"
    code, count = Counter(each.code for photo in photos for each in photo.reasons).most_common(1)[0]
    return f"None of the {len(photos)} photos can be used; {count} for the same reason. {TIPS[code]}"
