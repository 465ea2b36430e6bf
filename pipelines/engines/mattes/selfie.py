"""Mattes by MediaPipe's selfie segmenter and closed-form matting: small and fast; Apache-2.0 and MIT.

The segmenter finds the person's outline at 256×256 pixels, closed-form matting (Levin 2006) solves hair in a band around that
outline, and a guided filter brings the result to full size. Segmenter and matting run on head and shoulders alone, so that
hair gets the resolution.
"""

from collections.abc import Callable, Sequence

import cv2
import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision.image_segmenter import ImageSegmenter, ImageSegmenterOptions

from pipelines.engines import Engines
from pipelines.engines.runtimes.matting import (
    GUIDED_EPSILON,
    GUIDED_RADIUS,
    MATTING_FACE_SIZE,
    find_part,
    matting_window,
    other_faces,
    steepened,
)
from pipelines.engines.runtimes.pymatting_solver import solve_closed_form
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Mask
from portrait.errors import EngineError
from portrait.faces.geometry import transform_face
from portrait.images.masks import (
    KNOWN_IN,
    distance_inside,
    face_size,
    guided_filter,
    keep_connected,
    separate_person,
    trimap,
)
from portrait.images.matting import face_hull, fill_holes, hair_mask, settle
from portrait.images.resize import enlarged_strips, scaled_size, shrink_to_side
from portrait.images.windows import Window
from portrait.ports import FaceFinder
from portrait.types import Face

__all__ = ["SelfieMatting", "make", "status"]

VERSION = "selfie 1"
"""As recipes hold it: another number when a change here draws other pixels."""
HAIR_IN, HAIR_OUT = 0.05, 0.16
"""Half widths of the unknown band around hair, in face sizes: least error on the composites of the tests."""
BODY_IN, BODY_OUT = 0.025, 0.035
"""The same around clothes, whose outline the segmenter finds to about two of its pixels (0.017 face sizes each)."""
FRAME_SIDE = 512
"""Longer side, pixels, of the photo that the segmenter is given for what lies around the window; it reads 256."""
SILHOUETTE_SIDE = 256
"""Longer side, pixels, at which a silhouette is found: the segmenter reads as many."""
PRIOR_WEIGHT = 0.01
"""Weight of the segmenter's confidence as a prior, far from its outline, against the matting Laplacian, whose diagonal is
about 1: without it texture behind the person leaks into the matte (half as much error again on the tests' composites)."""
PRIOR_REACH = 0.12
"""Distance from the segmenter's outline, in face sizes, within which the prior weighs less: loose hair is found there."""


class SelfieMatting:
    """Separates a person from the background; other people are background too."""

    def __init__(self, segmenter: ImageSegmenter, finder: Callable[[], FaceFinder] | None = None) -> None:
        self._segmenter = segmenter
        self._finder = finder
        self.version = VERSION

    def matte(self, image: Image, face: Face) -> Mask:
        """How much of each pixel belongs to the person of `face`; see `portrait.ports.Matter`."""
        window = matting_window(image, face)
        part = window.crop(image)
        size = scaled_size(part.shape, min(1.0, MATTING_FACE_SIZE / face_size(face)))
        small = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        people = (face, *self._other_faces(image, face))
        near, *others = (transform_face(each, window.matrix_to(size)) for each in people)
        confidence = fill_holes(self._segment_person(small, near, others), near)
        hair = hair_mask(confidence, near)
        known = _make_trimap(confidence, near, hair)
        matte = solve_closed_form(small, known, confidence, _prior_weight(confidence, near))
        matte = keep_connected(settle(matte, near, hair), near)
        radius = max(1, round(GUIDED_RADIUS * face_size(near)))
        return self._extend_to_frame(image, people, window, guided_filter(matte, small, part, radius, GUIDED_EPSILON))

    def silhouette(self, image: Image, face: Face, others: Sequence[Face] | None = None) -> Mask:
        """The segmenter's confidence without other people; see `portrait.ports.Matter`."""
        window = matting_window(image, face)
        others = self._other_faces(image, face) if others is None else others
        out = np.zeros(image.shape[:2], np.float32)
        # Head and shoulders are seen more sharply than the whole photo.
        for each in dict.fromkeys((Window(0, 0, image.shape[1], image.shape[0]), window)):
            part = each.crop(image)
            small = shrink_to_side(part, SILHOUETTE_SIDE)
            near, *far = (
                transform_face(one, each.matrix_to((small.shape[1], small.shape[0]))) for one in (face, *others)
            )
            confidence = self.segment(small)
            if far:
                confidence = np.where(find_part(small, confidence, near, far), confidence, np.float32(0))
            found = keep_connected(confidence, near)
            for rows, strip in enlarged_strips(found, part.shape):
                each.crop(out)[rows] = strip
        return out

    def close(self) -> None:
        """Close the segmenter's native handle."""
        self._segmenter.close()

    def segment(self, image: Image) -> Mask:
        """The segmenter's own confidence that a pixel belongs to any person, 0..1, as large as `image`."""
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        masks = self._segmenter.segment(picture).confidence_masks
        if not masks:
            raise EngineError("no_mask", "The segmenter gave no mask for this photo.")
        return np.squeeze(masks[-1].numpy_view()).astype(np.float32)

    def _other_faces(self, image: Image, face: Face) -> list[Face]:
        return [] if self._finder is None else other_faces(self._finder(), image, face)

    def _segment_person(self, image: Image, face: Face, others: Sequence[Face]) -> Mask:
        """The segmenter's confidence without what belongs to other people or is not connected to the person."""
        confidence = self.segment(image)
        return keep_connected(separate_person(confidence, image, face, others) if others else confidence, face)

    def _extend_to_frame(self, image: Image, people: Sequence[Face], window: Window, matte: Mask) -> Mask:
        """The window's matte in a mask of the frame picture; around it stands the segmenter's confidence on a small one.

        `people` are the person's face, then those of others.
        """
        height, width = image.shape[:2]
        if matte.shape == (height, width):
            return matte
        small = shrink_to_side(image, FRAME_SIDE)
        matrix = Window(0, 0, width, height).matrix_to((small.shape[1], small.shape[0]))
        near = [transform_face(each, matrix) for each in people]
        rough = steepened(self._segment_person(small, near[0], near[1:]))
        out = np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        window.crop(out)[:] = matte
        return out


def _make_trimap(confidence: Mask, face: Face, hair: Mask) -> Mask:
    """The trimap: a wide unknown band around hair, a narrow one around clothes; the face itself is known."""
    unit = face_size(face)
    inner = (BODY_IN + (HAIR_IN - BODY_IN) * hair) * unit
    outer = (BODY_OUT + (HAIR_OUT - BODY_OUT) * hair) * unit
    known = trimap(confidence, inner, outer)
    known[distance_inside(face_hull(confidence.shape, face)) > BODY_IN * unit] = KNOWN_IN
    return known


def _prior_weight(confidence: Mask, face: Face) -> Mask:
    """Weight of the segmenter's confidence in matting: low at its own outline, where it finds no hair."""
    away = (distance_inside(confidence > 0.5) + distance_inside(confidence <= 0.5)) / (PRIOR_REACH * face_size(face))
    return (PRIOR_WEIGHT * np.minimum(away, 1) ** 2).astype(np.float32)


def make(settings: Settings, models: ModelStore, engines: Engines) -> SelfieMatting:
    """Load the segmenter; matting is compiled with the first matte of an installation."""
    model = models.file("selfie", "selfie_segmentation.tflite").read_bytes()
    options = ImageSegmenterOptions(
        base_options=BaseOptions(model_asset_buffer=model), output_confidence_masks=True, output_category_mask=False
    )
    return SelfieMatting(ImageSegmenter.create_from_options(options), engines.finder)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files, one sentence each; empty when the engine is ready."""
    return models.missing("selfie")
