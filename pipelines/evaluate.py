"""Evaluates a set of pictures: likeness, diversity, sharpness, FID and KID to another set, CLIP score of prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipelines import image_io
from portrait import metrics
from portrait.arrays import Image, Vector
from portrait.errors import UserError
from portrait.evaluation import Evaluation, Metric, MissingMetric, PictureMeasures
from portrait.faces.likeness import distance, distance_matrix
from portrait.metrics import Numbers, Values
from portrait.photos.names import as_text, distinct_names
from portrait.photos.quality import measure_sharpness
from portrait.ports import Classifier, FaceFinder, ImageTextEncoder, Progress
from portrait.types import Face

BATCH_SIZE = 16
"""Pictures that are in memory at a time."""
THUMBNAIL_SIDE = 180
"""Long side of a small picture, pixels."""
MAX_EMBEDDED_FACES = 6
"""Faces of a picture that are compared with the person, the largest ones."""
MIN_FID_PICTURES = 2048
"""Pictures from which on the covariance of 2048 features is not singular, and FID is what papers report."""


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """The pictures to evaluate, and what to compare them with."""

    files: Sequence[Path]
    against: Sequence[Path] = ()
    """The other set, for FID and KID."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """What each picture should show, by the name of its file as `distinct_names` says it."""
    person: Mapping[str, Vector] | None = None
    """Whom the pictures should show: mean embedding by space."""


@dataclass(slots=True)
class _Collected:
    """Measures and features that are collected while the pictures are read one by one."""

    pictures: list[PictureMeasures] = field(default_factory=list)
    embeddings: list[Vector] = field(default_factory=list)
    features: list[Numbers] = field(default_factory=list)
    class_probabilities: list[Numbers] = field(default_factory=list)
    clip_features: list[Numbers] = field(default_factory=list)
    """CLIP's features of every picture."""
    unreadable: list[str] = field(default_factory=list)
    unreadable_references: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Evaluates sets of pictures."""

    finder: FaceFinder
    image_classifier: Classifier | None = None
    image_text_encoder: ImageTextEncoder | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    """Why the `classifier` or the `encoder` is not here, and what would bring it."""

    def __call__(self, request: EvaluationRequest, progress: Progress) -> Evaluation:
        """Compute every metric for which the networks are here; raises `UserError` (`no_photos`) when no file can be read."""
        collected = self._measure_all(request, progress)
        if not collected.pictures:
            raise UserError("no_photos", "None of the pictures can be read. Name a folder that holds pictures.")
        words = self._score_prompts(request, collected)
        pictures = tuple(replace(each, clip=words.get(number)) for number, each in enumerate(collected.pictures))
        reference_features = self._extract_features(request.against, collected, progress)
        pairs: Numbers = np.empty(0)
        if len(collected.embeddings) > 1:
            pairs = metrics.upper_triangle(distance_matrix(self.finder.space, collected.embeddings))
        measures = [
            *_face_measures(pictures, pairs),
            *_feature_measures(collected, reference_features),
            *_summarize("clip_score", [each.clip for each in pictures if each.clip is not None], "higher"),
        ]
        return Evaluation(
            pictures=pictures,
            measures=tuple(measures),
            missing=tuple(self._unmeasured(request, {each.name for each in measures})),
            notes=tuple(_notes(request, collected, len(reference_features))),
            space=self.finder.space,
            limit=self.finder.same_person,
            pairs=pairs,
        )

    def _measure_all(self, request: EvaluationRequest, progress: Progress) -> _Collected:
        """Read and measure every picture once, `BATCH_SIZE` at a time."""
        collected, names = _Collected(), distinct_names(request.files)
        for start in range(0, len(request.files), BATCH_SIZE):
            images: list[Image] = []
            for number, path in enumerate(request.files[start : start + BATCH_SIZE], start):
                progress(number, len(request.files), "Measuring")
                try:
                    image = image_io.read(path).image
                except UserError:
                    collected.unreadable.append(names[number])
                    continue
                images.append(image)
                collected.pictures.append(self._measure(names[number], image, request.person, collected.embeddings))
            if images and self.image_classifier is not None:
                features, class_probabilities = self.image_classifier.classify(images)
                collected.features.append(features)
                collected.class_probabilities.append(class_probabilities)
            if images and self.image_text_encoder is not None:
                collected.clip_features.append(self.image_text_encoder.encode_images(images))
        return collected

    def _measure(
        self, name: str, image: Image, person: Mapping[str, Vector] | None, embeddings: list[Vector]
    ) -> PictureMeasures:
        """Measure one picture by the face most like the person, or the largest; its embedding is added to `embeddings`."""
        space = self.finder.space
        faces = self.finder.faces(image, embedded=MAX_EMBEDDED_FACES)
        known = [face for face in faces if space in face.embeddings]
        chosen: Face | None = faces[0] if faces else None
        distance_to_person: float | None = None
        if known and person is not None and space in person:
            distance_to_person, chosen = min(
                ((distance(space, face.embeddings[space], person[space]), face) for face in known),
                key=lambda each: each[0],
            )
        if chosen is not None and space in chosen.embeddings:
            embeddings.append(chosen.embeddings[space])
        sharpness = None if chosen is None else measure_sharpness(image, chosen)
        return PictureMeasures(
            name, len(faces), sharpness, distance_to_person, None, image_io.encode_thumbnail(image, THUMBNAIL_SIDE)
        )

    def _extract_features(self, files: Sequence[Path], collected: _Collected, progress: Progress) -> Numbers:
        """Return the classifier's features N×D of the other set; no rows without a classifier, or without a picture."""
        if self.image_classifier is None:
            return np.empty((0, 0))
        found: list[Numbers] = []
        for start in range(0, len(files), BATCH_SIZE):
            progress(start, len(files), "Looking at the other set")
            images: list[Image] = []
            for path in files[start : start + BATCH_SIZE]:
                try:
                    images.append(image_io.read(path).image)
                except UserError:
                    collected.unreadable_references.append(as_text(path.name))
            if images:
                found.append(self.image_classifier.classify(images)[0])
        return np.concatenate(found) if found else np.empty((0, 0))

    def _score_prompts(self, request: EvaluationRequest, collected: _Collected) -> dict[int, float]:
        """Return the CLIP score of every picture that has a prompt, by its index."""
        names = enumerate(each.name for each in collected.pictures)
        prompts = {number: request.prompts[name] for number, name in names if name in request.prompts}
        if self.image_text_encoder is None or not prompts:
            return {}
        different = list(dict.fromkeys(prompts.values()))
        texts = self.image_text_encoder.encode_texts(different)
        clip_features = np.concatenate(collected.clip_features)
        rows = np.stack([texts[different.index(words)] for words in prompts.values()])
        scores = metrics.clip_scores(clip_features[list(prompts)], rows)
        return {number: float(score) for number, score in zip(prompts, scores, strict=True)}

    def _unmeasured(self, request: EvaluationRequest, measured: set[str]) -> list[MissingMetric]:
        """Return the metrics that were not computed, each with what would make it possible."""
        few = "It takes at least two pictures."
        classify = self.absent.get("classifier", few)
        compare = self.absent.get("classifier", "It takes at least two pictures that can be read, in either set.")
        reasons = {
            "likeness": "Name the person with --person SET." if request.person is None else "No face was found.",
            "diversity": "It takes at least two faces.",
            "sharpness": "No face was found.",
            "fid": compare if request.against else "Name another folder with --against.",
            "kid": compare if request.against else "Name another folder with --against.",
            "inception_score": classify,
            "clip_score": self.absent.get("encoder", "No prompt belongs to any of the pictures.")
            if request.prompts
            else "Tell what the pictures should show with --prompts.",
            "diversity_pictures": self.absent.get("encoder", few),
        }
        return [MissingMetric(name, why) for name, why in reasons.items() if name not in measured]


def _face_measures(pictures: Sequence[PictureMeasures], pairs: Values) -> list[Metric]:
    """Return the metrics that take the face finder alone."""
    distances = [each.distance for each in pictures if each.distance is not None]
    sharpness = [each.sharpness for each in pictures if each.sharpness is not None]
    found = {"faces": sum(each.faces > 0 for each in pictures) / len(pictures)}
    return [
        *_summarize("likeness", distances, "lower", "median", found),
        *_summarize("diversity", pairs, "higher"),
        *_summarize("sharpness", sharpness, "higher", "median", found),
    ]


def _feature_measures(collected: _Collected, reference_features: Numbers) -> list[Metric]:
    """Return the metrics that take the classifier or CLIP."""
    measures = []
    features = np.concatenate(collected.features) if collected.features else np.empty((0, 0))
    if min(len(features), len(reference_features)) > 1:
        both = {"count": float(len(features)), "against": float(len(reference_features))}
        measures.append(Metric("fid", metrics.frechet_distance(features, reference_features), "lower", both))
        kid = metrics.kernel_distance(features, reference_features)
        measures.append(Metric("kid", kid.mean, "lower", {"deviation": kid.deviation, **both}))
    if len(features) > 1:
        score = metrics.inception_score(np.concatenate(collected.class_probabilities))
        more = {"deviation": score.deviation, "count": float(len(features))}
        measures.append(Metric("inception_score", score.mean, "higher", more))
    clip_features = np.concatenate(collected.clip_features) if collected.clip_features else np.empty((0, 0))
    if len(clip_features) > 1:
        summary = metrics.summarize(metrics.upper_triangle(metrics.cosine_distances(clip_features)))
        measures.append(Metric("diversity_pictures", summary.mean, "higher", {"p10": summary.p10, "p90": summary.p90}))
    return measures


def _summarize(
    name: str, values: Values, better: str, average: str = "mean", more: Mapping[str, float] | None = None
) -> list[Metric]:
    """Return the metric of what was measured several times, by its `mean` or `median`; none without values."""
    if len(values) == 0:
        return []
    summary = metrics.summarize(values)
    spread = {"p10": summary.p10, "p90": summary.p90, "count": summary.count}
    return [Metric(name, getattr(summary, average), better, {**spread, **(more or {})})]


def _notes(request: EvaluationRequest, collected: _Collected, reference_features: int) -> list[str]:
    """Return what one must know to read the metrics."""
    notes = []
    if collected.unreadable:
        notes.append(
            f"{len(collected.unreadable)} of {len(request.files)} files could not be read: "
            f"{', '.join(collected.unreadable[:5])}."
        )
    if collected.unreadable_references:
        notes.append(
            f"{len(collected.unreadable_references)} of {len(request.against)} files of the other set could not be read: "
            f"{', '.join(collected.unreadable_references[:5])}."
        )
    fewest = min(len(collected.pictures), reference_features)
    if collected.features and 0 < fewest < MIN_FID_PICTURES:
        notes.append(
            f"With fewer than {MIN_FID_PICTURES} pictures the Fréchet distance reads high: compare it between sets of one size "
            "alone. The kernel distance does not depend on their number."
        )
    without = [each.name for each in collected.pictures if request.prompts and each.name not in request.prompts]
    if without:
        notes.append(f"{len(without)} pictures have no prompt: {', '.join(without[:5])}.")
    return notes
