"""Mattes by MediaPipe's selfie segmenter and closed-form matting: the default, for any machine; Apache-2.0 and MIT.

The segmenter finds the person's outline at 256×256 pixels, closed-form matting (Levin 2006) solves hair in a band around that
outline, and a guided filter brings the result to full size. Segmenter and matting run on head and shoulders alone, so that
hair gets the resolution.
"""

import importlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import mediapipe
import numpy as np
import scipy.sparse
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision.image_segmenter import ImageSegmenter, ImageSegmenterOptions
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Mask
from portrait.errors import EngineError
from portrait.faces.geometry import Affine, transform_face
from portrait.images.filters import smoothstep
from portrait.images.masks import (
    KNOWN_IN,
    UNKNOWN,
    distance_inside,
    face_size,
    guided_filter,
    keep_connected,
    separate_person,
    trimap,
)
from portrait.images.resize import scaled_size, shrink_to_side
from portrait.ports import FaceFinder
from portrait.types import Face

ASIDE, ABOVE, BELOW = 1.9, 1.6, 2.4
"""Reach of the window from the face's centre, in face sizes: what a portrait with shoulders shows, and a margin."""
MATTING_FACE_SIZE = 120
"""Face size in pixels at which matting works: it bounds the time, and twice as many gained nothing on the tests'
composites."""
HAIR_IN, HAIR_OUT = 0.05, 0.16
"""Half widths of the unknown band around hair, in face sizes: least error on the composites of the tests."""
BODY_IN, BODY_OUT = 0.025, 0.035
"""The same around clothes, whose outline the segmenter finds to about two of its pixels (0.017 face sizes each)."""
JAW_REACH = 0.1
"""Distance from the face's mesh, in face sizes, up to which an outline below the eyes is the jaw's; at twice that, hair's."""
FRAME_SIDE = 512
"""Longer side, pixels, of the photo that the segmenter is given for what lies around the window; it reads 256."""
MAX_HOLE = 0.1
"""Largest hole in the person that is closed, in squared face sizes."""
GUIDED_RADIUS = 0.02
"""Radius of the guided filter in face sizes."""
GUIDED_EPSILON = 1e-5
"""Its regularisation in squared 0..1 colour: a step of 1 % of contrast still counts as an edge."""
PRIOR_WEIGHT = 0.01
"""Weight of the segmenter's confidence as a prior, far from its outline, against the matting Laplacian, whose diagonal is
about 1: without it texture behind the person leaks into the matte (half as much error again on the tests' composites)."""
PRIOR_REACH = 0.12
"""Distance from the segmenter's outline, in face sizes, within which the prior weighs less: loose hair is found there."""
FINE_WIDTH = 0.015
"""Half width, in face sizes, up to which a structure in the matte counts as hair."""
VEIL = 0.25
"""Opacity below which a broader structure is taken for a leak, and 1 minus which it is taken for solid."""
TEXTURE_FACTOR, TEXTURE_REACH = 1.5, 0.08
"""Fine structure outside of the person counts as far as it exceeds so many times its mean within this distance, in face
sizes: what is alike everywhere is the room's texture, hair stands out of it."""
FAINT = 0.15
"""Opacity up to which the remaining fine structure fades out: a wisp that faint is not missed, a trace of the room is."""
LAPLACIAN_EPSILON = 1e-6
"""Regularisation of the matting Laplacian: ten times pymatting's default, which follows sensor noise."""
SHIFTS = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
"""Diagonal shifts that the incomplete factorisation tries in turn."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A rectangle inside of a picture, in frame pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def crop(self, image: NDArray[Any]) -> NDArray[Any]:
        """That part of an image, as a view."""
        return image[self.top : self.bottom, self.left : self.right]


class SelfieMatting:
    """Separates a person from the background; other people are background too."""

    def __init__(self, segmenter: ImageSegmenter, finder: Callable[[], FaceFinder] | None = None) -> None:
        self._segmenter = segmenter
        self._finder = finder

    def matte(self, image: Image, face: Face) -> Mask:
        """How much of each pixel belongs to the person of `face`; see `portrait.ports.Matter`."""
        window = _matting_window(image, face)
        part = window.crop(image)
        size = scaled_size(part.shape, min(1.0, MATTING_FACE_SIZE / face_size(face)))
        small = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        people = (face, *self._other_faces(image, face))
        near, *others = (transform_face(each, _window_matrix(window, size)) for each in people)
        confidence = _fill_holes(self._segment_person(small, near, others), near)
        hair = _hair_mask(confidence, near)
        matte = self._solve(small, _make_trimap(confidence, near, hair), confidence, _prior_weight(confidence, near))
        matte = keep_connected(_clean_up(matte, near, hair), near)
        radius = max(1, round(GUIDED_RADIUS * face_size(near)))
        return self._extend_to_frame(image, people, window, guided_filter(matte, small, part, radius, GUIDED_EPSILON))

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
        """Faces of other people, large enough to stand beside this one."""
        faces = [] if self._finder is None else self._finder().faces(image, 0)
        return [other for other in faces if _is_other_person(other, face)]

    def _segment_person(self, image: Image, face: Face, others: Sequence[Face]) -> Mask:
        """The segmenter's confidence without what belongs to other people or is not connected to the person."""
        confidence = self.segment(image)
        return keep_connected(separate_person(confidence, image, face, others) if others else confidence, face)

    def _solve(self, image: Image, known: Mask, confidence: Mask, prior_weight: Mask) -> Mask:
        """Closed-form matting of the trimap's unknown pixels, the segmenter's confidence as a weak prior."""
        unknown = known == UNKNOWN
        if not unknown.any() or not (known == KNOWN_IN).any():
            return known
        pymatting = _import_pymatting()
        laplacian = pymatting.cf_laplacian(image.astype(np.float64) / 255, epsilon=LAPLACIAN_EPSILON, is_known=~unknown)
        free = unknown.ravel()
        rows = laplacian[free]
        weight = prior_weight.ravel()[free].astype(np.float64)
        system = (rows[:, free] + scipy.sparse.diags_array(weight)).tocsr()
        target = weight * confidence.ravel()[free] - rows[:, ~free].dot(
            (known.ravel()[~free] == KNOWN_IN).astype(np.float64)
        )
        # Measured fill is below 100 entries a row; pymatting would reserve 4 GB. Its shifts begin at 0, which often fails.
        factor = pymatting.ichol(system, max_nnz=int(system.shape[0]) * 200 + 1000, shifts=SHIFTS)
        out = known.ravel().copy()
        out[free] = pymatting.cg(system, target, M=factor, rtol=1e-4)
        return np.clip(out, 0, 1).reshape(known.shape)

    def _extend_to_frame(self, image: Image, people: Sequence[Face], window: _Window, matte: Mask) -> Mask:
        """The window's matte in a mask of the frame picture; around it stands the segmenter's confidence on a small one.

        `people` are the person's face, then those of others.
        """
        height, width = image.shape[:2]
        if matte.shape == (height, width):
            return matte
        small = shrink_to_side(image, FRAME_SIDE)
        matrix = _window_matrix(_Window(0, 0, width, height), (small.shape[1], small.shape[0]))
        near = [transform_face(each, matrix) for each in people]
        rough = np.clip((self._segment_person(small, near[0], near[1:]) - 0.5) * 4 + 0.5, 0, 1)
        out = np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        window.crop(out)[:] = matte
        return out


def _matting_window(image: Image, face: Face) -> _Window:
    """Head and shoulders of a face; raises `EngineError` (`face_outside`) where less than 8 pixels of them are there."""
    height, width = image.shape[:2]
    (x, y), unit = face.box.centre, face_size(face)
    left, right = max(0, round(x - ASIDE * unit)), min(width, round(x + ASIDE * unit))
    top, bottom = max(0, round(y - ABOVE * unit)), min(height, round(y + BELOW * unit))
    if right - left < 8 or bottom - top < 8:
        raise EngineError("face_outside", "The face lies outside of the photo that was to be cut out.")
    return _Window(left, top, right, bottom)


def _window_matrix(window: _Window, size: tuple[int, int]) -> Affine:
    """The map from the picture to the window at `size` (width, height) pixels."""
    across = size[0] / (window.right - window.left)
    down = size[1] / (window.bottom - window.top)
    return np.array([[across, 0, -window.left * across], [0, down, -window.top * down]], np.float64)


def _hair_mask(confidence: Mask, face: Face) -> Mask:
    """Where there may be hair (1), above the chin and beside the neck, and where there are only clothes (0).

    Where the outline is the jaw's there is no hair either: the space between jaw and collar would be all unknown.
    """
    unit = face_size(face)
    rows, columns = np.indices(confidence.shape, np.float32)
    aside = np.maximum(np.abs(columns - face.box.centre[0]) / unit - 0.75, 0)
    below = np.maximum((rows - face.box.bottom) / unit, 0)
    hair = np.clip(1 - 2 * np.maximum(below - 0.2, aside * (below > 0)), 0, 1)
    if face.mesh is not None:
        from_jaw = distance_inside(~_fill_face(confidence.shape, face)) / unit
        under_eyes = np.clip((rows - face.landmarks[:2, 1].max()) / (0.2 * unit), 0, 1)
        hair *= 1 - under_eyes * np.clip(2 - from_jaw / JAW_REACH, 0, 1)
    return hair.astype(np.float32)


def _fill_face(shape: tuple[int, ...], face: Face) -> NDArray[np.bool_]:
    """Pixels inside of the face's mesh; none where there is no mesh."""
    filled = np.zeros(shape, np.uint8)
    if face.mesh is not None:
        cv2.fillConvexPoly(filled, cv2.convexHull(face.mesh[:, :2].astype(np.int32)), 1)
    return filled > 0


def _make_trimap(confidence: Mask, face: Face, hair: Mask) -> Mask:
    """The trimap: a wide unknown band around hair, a narrow one around clothes; the face itself is known."""
    unit = face_size(face)
    inner = (BODY_IN + (HAIR_IN - BODY_IN) * hair) * unit
    outer = (BODY_OUT + (HAIR_OUT - BODY_OUT) * hair) * unit
    known = trimap(confidence, inner, outer)
    known[distance_inside(_fill_face(confidence.shape, face)) > BODY_IN * unit] = KNOWN_IN
    return known


def _clean_up(matte: Mask, face: Face, hair: Mask) -> Mask:
    """The matte with broad half-opaque areas made transparent or solid, and fine structure kept where it is hair."""
    side = 2 * max(1, round(FINE_WIDTH * face_size(face))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    broad = cv2.morphologyEx(matte, cv2.MORPH_OPEN, kernel)
    solid = smoothstep(broad, VEIL, 1 - VEIL)
    fine = _remove_texture(matte - broad, solid < 0.5, TEXTURE_REACH * face_size(face))
    # Beside clothes only the soft edge itself is left.
    edge = cv2.dilate((solid > 0.02).astype(np.float32), np.ones((3, 3), np.uint8))
    return np.clip(fine * np.maximum(hair, edge) + solid, 0, 1).astype(np.float32)


def _remove_texture(fine: Mask, outside: NDArray[np.bool_], reach: float) -> Mask:
    """Fine structure without what comes from the texture of the room; `reach` in pixels."""
    window = (2 * round(reach) + 1,) * 2
    count = cv2.blur(outside.astype(np.float32), window)
    mean = cv2.blur(np.where(outside, fine, np.float32(0)), window) / np.maximum(count, 1e-3)
    left = np.maximum(fine - TEXTURE_FACTOR * mean, 0)
    return (left * smoothstep(left, 0, FAINT)).astype(np.float32)


def _prior_weight(confidence: Mask, face: Face) -> Mask:
    """Weight of the segmenter's confidence in matting: low at its own outline, where it finds no hair."""
    away = (distance_inside(confidence > 0.5) + distance_inside(confidence <= 0.5)) / (PRIOR_REACH * face_size(face))
    return (PRIOR_WEIGHT * np.minimum(away, 1) ** 2).astype(np.float32)


def _fill_holes(confidence: Mask, face: Face) -> Mask:
    """The confidence without the small holes that the segmenter leaves in patterned clothes; gaps under an arm stay."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((confidence < 0.9).astype(np.uint8), connectivity=4)
    height, width = confidence.shape
    out = confidence.copy()
    for label, (left, top, wide, tall, area) in enumerate(stats[1:], start=1):
        inside = left > 0 and top > 0 and left + wide < width and top + tall < height
        if inside and area < MAX_HOLE * face_size(face) ** 2:
            out[labels == label] = 1
    return out


def _is_other_person(other: Face, face: Face) -> bool:
    (x, y), (own_x, own_y) = other.box.centre, face.box.centre
    return np.hypot(x - own_x, y - own_y) > 0.5 * face_size(face) and face_size(other) > 0.3 * face_size(face)


@cache
def _import_pymatting() -> Any:
    """pymatting, imported by the first matte: 1 s, and 40 s once per installation while numba compiles all of its methods.

    numba keeps the compiled code in its cache folder; `warm_up` fills it before somebody waits.
    """
    pymatting = importlib.import_module("pymatting")
    # ichol prints when a shift is too small and another one is tried; standard output belongs to the command line.
    importlib.import_module("pymatting.preconditioner.ichol").__dict__["print"] = logging.getLogger(__name__).debug
    return pymatting


def warm_up() -> None:
    """Compile matting; see `pipelines.engines.warm_up`."""
    _import_pymatting()


def make(settings: Settings, models: ModelStore, engines: Engines) -> SelfieMatting:
    """Load the segmenter; matting is compiled by `warm_up` or with the first matte."""
    model = models.file("selfie", "selfie_segmentation.tflite").read_bytes()
    options = ImageSegmenterOptions(
        base_options=BaseOptions(model_asset_buffer=model), output_confidence_masks=True, output_category_mask=False
    )
    return SelfieMatting(ImageSegmenter.create_from_options(options), engines.finder)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files, one sentence each; empty when the engine is ready."""
    return models.missing("selfie")
