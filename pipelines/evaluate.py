"""A folder of pictures in numbers: likeness, variety, sharpness; distance to another folder; how well words are shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from pipelines import image_io as door
from portrait import metrics
from portrait.arrays import Image, Vector
from portrait.errors import UserError
from portrait.evaluation import Evaluation, Metric, MissingMetric, PictureMeasures
from portrait.faces.likeness import distance, distance_matrix
from portrait.metrics import Numbers
from portrait.photos.quality import measure_sharpness
from portrait.ports import Classifier, FaceFinder, ImageTextEncoder, Progress
from portrait.types import Face

BATCH_SIZE = 16
"""Pictures that are in memory at a time."""
THUMBNAIL_SIDE = 180
"""Long side of a small picture, pixels."""
MAX_EMBEDDED_FACES = 6
"""Faces of a picture that are compared with the person."""
MIN_FID_PICTURES = 2048
"""Pictures from which on the covariance of 2048 features is not singular, and FID is what papers report."""


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is to be measured."""

    files: Sequence[Path]
    against: Sequence[Path] = ()
    """The other set, for FID and KID."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """What each picture should show, by file name."""
    person: Mapping[str, Vector] | None = None
    """Whom the pictures should show: mean embedding by space."""


@dataclass(slots=True)
class _Seen:
    """What is gathered while pictures go by."""

    pictures: list[PictureMeasures] = field(default_factory=list)
    vectors: list[Vector] = field(default_factory=list)
    features: list[Numbers] = field(default_factory=list)
    shares: list[Numbers] = field(default_factory=list)
    shown: list[Numbers] = field(default_factory=list)
    """CLIP's features of every picture."""
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Pictures to numbers."""

    finder: FaceFinder
    image_classifier: Classifier | None = None
    image_text_encoder: ImageTextEncoder | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    """Why `classifier` or `comparer` is not here, and what would bring it."""

    def __call__(self, request: EvaluationRequest, progress: Progress) -> Evaluation:
        """Everything that can be measured with what is here; raises `UserError` (`no_photos`) when nothing can be read."""
        seen = self._look(request, progress)
        if not seen.pictures:
            raise UserError("no_photos", "None of the pictures can be read. Name a folder that holds pictures.")
        words = self._words(request, seen)
        pictures = tuple(replace(each, clip=words.get(number)) for number, each in enumerate(seen.pictures))
        there = self._features(request.against, progress) if self.image_classifier is not None else np.empty((0, 0))
        pairs: list[float] = []
        if len(seen.vectors) > 1:
            pairs = metrics.upper_triangle(distance_matrix(self.finder.space, seen.vectors))
        measures = [*_of_faces(pictures, pairs), *_of_features(seen, there), *_of_words(pictures)]
        return Evaluation(
            pictures=pictures,
            measures=tuple(measures),
            missing=tuple(self._missing(request, {each.name for each in measures})),
            notes=tuple(_notes(request, seen, len(there))),
            space=self.finder.space,
            limit=self.finder.same_person,
            pairs=tuple(pairs),
        )

    def _look(self, asked: EvaluationRequest, progress: Progress) -> _Seen:
        """Every picture once, a few at a time."""
        seen = _Seen()
        for start in range(0, len(asked.files), BATCH_SIZE):
            images: list[Image] = []
            for number, path in enumerate(asked.files[start : start + BATCH_SIZE], start):
                progress(number, len(asked.files), "Measuring")
                try:
                    image = door.read(path).image
                except UserError:
                    seen.unreadable.append(path.name)
                    continue
                images.append(image)
                seen.pictures.append(self._measured(path.name, image, asked.person, seen.vectors))
            if images and self.image_classifier is not None:
                features, shares = self.image_classifier.classify(images)
                seen.features.append(features)
                seen.shares.append(shares)
            if images and self.image_text_encoder is not None:
                seen.shown.append(self.image_text_encoder.encode_images(images))
        return seen

    def _measured(
        self, name: str, image: Image, person: Mapping[str, Vector] | None, vectors: list[Vector]
    ) -> PictureMeasures:
        """One picture; the face that counts is the one most like the person, or the largest."""
        space = self.finder.space
        faces = self.finder.faces(image, embedded=MAX_EMBEDDED_FACES)
        known = [face for face in faces if space in face.embeddings]
        chosen: Face | None = faces[0] if faces else None
        apart: float | None = None
        if known and person is not None and space in person:
            apart, chosen = min(
                ((distance(space, face.embeddings[space], person[space]), face) for face in known),
                key=lambda each: each[0],
            )
        if chosen is not None and space in chosen.embeddings:
            vectors.append(chosen.embeddings[space])
        sharp = None if chosen is None else measure_sharpness(image, chosen)
        return PictureMeasures(name, len(faces), sharp, apart, None, _small(image))

    def _features(self, files: Sequence[Path], progress: Progress) -> Numbers:
        """Features of the other set."""
        if self.image_classifier is None:
            raise ValueError("there is no classifier")
        found: list[Numbers] = []
        for start in range(0, len(files), BATCH_SIZE):
            progress(start, len(files), "Looking at the other set")
            images = [door.read(path).image for path in files[start : start + BATCH_SIZE]]
            found.append(self.image_classifier.classify(images)[0])
        return np.concatenate(found) if found else np.empty((0, 0))

    def _words(self, asked: EvaluationRequest, seen: _Seen) -> dict[int, float]:
        """CLIP score of every picture that has a prompt, by its place."""
        told = {
            number: asked.prompts[each.name] for number, each in enumerate(seen.pictures) if each.name in asked.prompts
        }
        if self.image_text_encoder is None or not told:
            return {}
        different = list(dict.fromkeys(told.values()))
        texts = self.image_text_encoder.words(different)
        shown = np.concatenate(seen.shown)
        rows = np.stack([texts[different.index(words)] for words in told.values()])
        scores = metrics.clip_scores(shown[list(told)], rows)
        return {number: float(score) for number, score in zip(told, scores, strict=True)}

    def _missing(self, asked: EvaluationRequest, measured: set[str]) -> list[MissingMetric]:
        """What a person may look for in vain, and what would bring it."""
        few = "It takes at least two pictures."
        classify = self.absent.get("classifier", few)
        reasons = {
            "likeness": "Name the person with --person SET." if asked.person is None else "No face was found.",
            "diversity": "It takes at least two faces.",
            "sharpness": "No face was found.",
            "fid": classify if asked.against else "Name another folder with --against.",
            "kid": classify if asked.against else "Name another folder with --against.",
            "inception_score": classify,
            "clip_score": self.absent.get("comparer", "No prompt belongs to any of the pictures.")
            if asked.prompts
            else "Tell what the pictures should show with --prompts.",
            "diversity_pictures": self.absent.get("comparer", few),
        }
        return [MissingMetric(name, why) for name, why in reasons.items() if name not in measured]


def _of_faces(pictures: Sequence[PictureMeasures], pairs: Sequence[float]) -> list[Metric]:
    """What needs the face finder alone."""
    apart = [each.distance for each in pictures if each.distance is not None]
    sharp = [each.sharpness for each in pictures if each.sharpness is not None]
    found = {"faces": sum(each.faces > 0 for each in pictures) / len(pictures)}
    measures = []
    if apart:
        measures.append(_summed("likeness", apart, "lower", found))
    if pairs:
        told = metrics.summarize(pairs)
        measures.append(
            Metric("diversity", told.mean, "higher", {"p10": told.p10, "p90": told.p90, "count": told.count})
        )
    if sharp:
        measures.append(_summed("sharpness", sharp, "higher", found))
    return measures


def _of_features(seen: _Seen, there: Numbers) -> list[Metric]:
    """What needs the networks that see."""
    measures = []
    here = np.concatenate(seen.features) if seen.features else np.empty((0, 0))
    if min(len(here), len(there)) > 1:
        both = {"count": float(len(here)), "against": float(len(there))}
        measures.append(Metric("fid", metrics.frechet_distance(here, there), "lower", both))
        kid = metrics.kernel_distance(here, there)
        measures.append(Metric("kid", kid.mean, "lower", {"deviation": kid.deviation, **both}))
    if len(here) > 1:
        score = metrics.inception_score(np.concatenate(seen.shares))
        more = {"deviation": score.deviation, "count": float(len(here))}
        measures.append(Metric("inception_score", score.mean, "higher", more))
    shown = np.concatenate(seen.shown) if seen.shown else np.empty((0, 0))
    if len(shown) > 1:
        told = metrics.summarize(metrics.upper_triangle(metrics.cosine_distances(shown)))
        measures.append(Metric("diversity_pictures", told.mean, "higher", {"p10": told.p10, "p90": told.p90}))
    return measures


def _of_words(pictures: Sequence[PictureMeasures]) -> list[Metric]:
    scores = [each.clip for each in pictures if each.clip is not None]
    if not scores:
        return []
    told = metrics.summarize(scores)
    return [Metric("clip_score", told.mean, "higher", {"p10": told.p10, "p90": told.p90, "count": told.count})]


def _summed(name: str, values: Sequence[float], better: str, more: Mapping[str, float]) -> Metric:
    told = metrics.summarize(values)
    return Metric(name, told.median, better, {"p10": told.p10, "p90": told.p90, "count": told.count, **more})


def _notes(asked: EvaluationRequest, seen: _Seen, there: int) -> list[str]:
    """What one must know to read the numbers."""
    notes = []
    if seen.unreadable:
        notes.append(
            f"{len(seen.unreadable)} of {len(asked.files)} files could not be read: {', '.join(seen.unreadable[:5])}."
        )
    if seen.features and there and min(len(seen.pictures), there) < MIN_FID_PICTURES:
        notes.append(
            f"With fewer than {MIN_FID_PICTURES} pictures the Fréchet distance reads high: compare it between sets of one size alone. "
            "The kernel distance does not depend on their number."
        )
    without = [each.name for each in seen.pictures if asked.prompts and each.name not in asked.prompts]
    if without:
        notes.append(f"{len(without)} pictures have no prompt: {', '.join(without[:5])}.")
    return notes


def _small(image: Image) -> Image:
    share = min(1.0, THUMBNAIL_SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * share)), max(1, round(image.shape[0] * share)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
