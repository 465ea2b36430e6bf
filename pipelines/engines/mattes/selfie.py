"""MediaPipe's selfie segmenter with closed-form matting: the embedded default, for any machine; Apache-2.0 and MIT.

The segmenter says where the person is, at 256×256 pixels; what happens in hair is found out by closed-form matting
(Levin 2006) in a band around that outline, and a guided filter carries it to full size. Segmenter and matting look at
head and shoulders alone, so that hair gets the resolution.
"""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import mediapipe
import numpy as np
import scipy.sparse
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision.image_segmenter import ImageSegmenter, ImageSegmenterOptions
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image, Mask
from portrait.errors import EngineError
from portrait.faces.geometry import Affine, move_face
from portrait.images.masks import KNOWN_IN, UNKNOWN, apart, connected, depth, face_size, guided, trimap
from portrait.ports import FaceFinder
from portrait.types import Face

ASIDE, ABOVE, BELOW = 1.9, 1.6, 2.4
"""The window around the face's centre, in face sizes: what a portrait with shoulders shows, and a margin."""
FACE_PIXELS = 120
"""Face size at which matting works: it bounds the time, and twice the pixels gained nothing on the tests' composites."""
HAIR_IN, HAIR_OUT = 0.05, 0.16
"""Half widths of the unknown band around hair, in face sizes: least error on the composites of the tests."""
BODY_IN, BODY_OUT = 0.025, 0.035
"""The same around clothes, whose outline the segmenter finds to about two of its pixels (0.017 face sizes each)."""
JAW = 0.1
"""Distance from the face's mesh, in face sizes, up to which an outline below the eyes is the jaw's; at twice that, hair's."""
FRAME = 512
"""Longer side of the whole photo when the segmenter looks at what lies around the window; it reads 256 px."""
HOLE = 0.1
"""Largest hole in the person that is closed, in squared face sizes."""
SOFT = 0.02
"""Radius of the guided filter in face sizes."""
SOFT_EPSILON = 1e-5
"""Its regularisation in squared 0..1 colour: a step of 1 % of contrast still counts as an edge."""
BELIEF = 0.01
"""Weight of the segmenter's word against the matting Laplacian, whose diagonal is about 1, far from its outline: without
it texture behind the person leaks into the matte (half as much error again on the tests' composites)."""
DOUBT = 0.12
"""Distance from its outline, in face sizes, within which the segmenter is believed less: loose hair is found there."""
FINE = 0.015
"""Half width, in face sizes, up to which a structure in the matte counts as hair."""
VEIL = 0.25
"""Opacity below which a broader structure is taken for a leak, and 1 minus which it is taken for solid."""
TEXTURE, TEXTURED = 1.5, 0.08
"""Fine structure outside of the person counts by what it has beyond so many times its mean within this distance, in face
sizes: what is everywhere alike is the room's texture, hair stands out of it."""
FAINT = 0.15
"""Opacity up to which what is then left fades away: a wisp that faint is not missed, a trace of the old room is seen."""
EPSILON = 1e-6
"""Regularisation of the matting Laplacian: ten times pymatting's default, which follows sensor noise."""
SHIFTS = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
"""Diagonal shifts that the incomplete factorisation tries in turn."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of a picture, in whole pixels inside of it."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """The part itself, as a view."""
        return image[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, slots=True)
class _Solver:
    """The three functions of pymatting that are used."""

    laplacian: Callable[..., Any]
    preconditioner: Callable[..., Any]
    solve: Callable[..., Any]


class SelfieMatter:
    """Separates a person from the background; other people are background too."""

    def __init__(self, segmenter: ImageSegmenter, finder: Callable[[], FaceFinder] | None = None) -> None:
        self._segmenter = segmenter
        self._finder = finder
        self._solver: _Solver | None = None

    def matte(self, image: Image, face: Face) -> Mask:
        """How much of each pixel belongs to the person of `face`; see `portrait.ports.Matter`."""
        window = _around(image, face)
        part = window.cut(image)
        shrink = min(1.0, FACE_PIXELS / face_size(face))
        size = (max(1, round(part.shape[1] * shrink)), max(1, round(part.shape[0] * shrink)))
        small = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        near = move_face(face, _into(window, size))
        others = self._others(image, face)
        confidence = _filled(self._person(small, near, [move_face(each, _into(window, size)) for each in others]), near)
        hair = _hair(confidence, near)
        matte = self._solve(small, _bands(confidence, near, hair), confidence, _belief(confidence, near))
        matte = connected(_settled(matte, near, hair), near)
        radius = max(1, round(SOFT * face_size(near)))
        return self._framed(image, (face, *others), window, guided(matte, small, part, radius, SOFT_EPSILON))

    def confidence(self, image: Image, face: Face) -> Mask:
        """What the segmenter alone says about the same pixels; what the matte is measured against."""
        window = _around(image, face)
        return self._framed(image, (face,), window, self._confidence(window.cut(image)))

    def close(self) -> None:
        """Give the segmenter's native handle back."""
        self._segmenter.close()

    def warm(self) -> None:
        """Compile what matting needs, about 4 s on the first call of an installation; numba keeps it for later ones."""
        self._functions()

    def _functions(self) -> _Solver:
        if self._solver is None:
            self._solver = _load_solver()
        return self._solver

    def _confidence(self, image: Image) -> Mask:
        """The segmenter's own answer, as large as `image`."""
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        masks = self._segmenter.segment(picture).confidence_masks
        if not masks:
            raise EngineError("no_mask", "The segmenter gave no mask for this photo.")
        return np.squeeze(masks[-1].numpy_view()).astype(np.float32)

    def _others(self, image: Image, face: Face) -> list[Face]:
        """Faces of other people, large enough to stand beside this one."""
        return [] if self._finder is None else [each for each in self._finder().faces(image, 0) if _another(each, face)]

    def _person(self, image: Image, face: Face, others: Sequence[Face]) -> Mask:
        """The segmenter's confidence without what belongs to other people or hangs in the air."""
        confidence = self._confidence(image)
        return connected(apart(confidence, image, face, others) if others else confidence, face)

    def _solve(self, image: Image, known: Mask, confidence: Mask, belief: Mask) -> Mask:
        """Closed-form matting of the unknown pixels, the segmenter's confidence as a weak prior."""
        unknown = known == UNKNOWN
        if not unknown.any() or not (known == KNOWN_IN).any():
            return known
        functions = self._functions()
        laplacian = functions.laplacian(image.astype(np.float64) / 255, epsilon=EPSILON, is_known=~unknown)
        free = unknown.ravel()
        rows = laplacian[free]
        weight = belief.ravel()[free].astype(np.float64)
        system = (rows[:, free] + scipy.sparse.diags_array(weight)).tocsr()
        target = weight * confidence.ravel()[free] - rows[:, ~free].dot(
            (known.ravel()[~free] == KNOWN_IN).astype(np.float64)
        )
        # Measured fill is below 100 entries a row; pymatting would reserve 4 GB. Its shifts begin at 0, which often fails.
        factor = functions.preconditioner(system, max_nnz=int(system.shape[0]) * 200 + 1000, shifts=SHIFTS)
        out = known.ravel().copy()
        out[free] = functions.solve(system, target, M=factor, rtol=1e-4)
        return np.clip(out, 0, 1).reshape(known.shape)

    def _framed(self, image: Image, people: Sequence[Face], window: _Window, matte: Mask) -> Mask:
        """The window's matte in the whole frame; around it the segmenter's word on a small picture must do."""
        height, width = image.shape[:2]
        if matte.shape == (height, width):
            return matte
        whole = _Window(0, 0, width, height)
        shrink = min(1.0, FRAME / max(height, width))
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        near = [move_face(each, _into(whole, size)) for each in people]
        rough = np.clip((self._person(small, near[0], near[1:]) - 0.5) * 4 + 0.5, 0, 1)
        out = np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        window.cut(out)[:] = matte
        return out


def _around(image: Image, face: Face) -> _Window:
    height, width = image.shape[:2]
    (x, y), unit = face.box.centre, face_size(face)
    left, right = max(0, round(x - ASIDE * unit)), min(width, round(x + ASIDE * unit))
    top, bottom = max(0, round(y - ABOVE * unit)), min(height, round(y + BELOW * unit))
    if right - left < 8 or bottom - top < 8:
        raise EngineError("face_outside", "The face lies outside of the photo that was to be cut out.")
    return _Window(left, top, right, bottom)


def _into(window: _Window, size: tuple[int, int]) -> Affine:
    """The map from the picture to the window at `size` pixels."""
    across = size[0] / (window.right - window.left)
    down = size[1] / (window.bottom - window.top)
    return np.array([[across, 0, -window.left * across], [0, down, -window.top * down]], np.float64)


def _hair(confidence: Mask, face: Face) -> Mask:
    """Where there may be hair (1) and where there are only clothes (0): above the chin, and beside the neck.

    Where the outline is that of the jaw itself there is none either, or the room between jaw and collar would be all band.
    """
    unit = face_size(face)
    rows, columns = np.indices(confidence.shape, np.float32)
    aside = np.maximum(np.abs(columns - face.box.centre[0]) / unit - 0.75, 0)
    below = np.maximum((rows - face.box.bottom) / unit, 0)
    hair = np.clip(1 - 2 * np.maximum(below - 0.2, aside * (below > 0)), 0, 1)
    if face.mesh is not None:
        from_jaw = depth(~_hull(confidence.shape, face)) / unit
        under_eyes = np.clip((rows - face.landmarks[:2, 1].max()) / (0.2 * unit), 0, 1)
        hair *= 1 - under_eyes * np.clip(2 - from_jaw / JAW, 0, 1)
    return hair.astype(np.float32)


def _hull(shape: tuple[int, ...], face: Face) -> NDArray[np.bool_]:
    """The face's mesh, filled; empty where there is none."""
    filled = np.zeros(shape, np.uint8)
    if face.mesh is not None:
        cv2.fillConvexPoly(filled, cv2.convexHull(face.mesh[:, :2].astype(np.int32)), 1)
    return filled > 0


def _bands(confidence: Mask, face: Face, hair: Mask) -> Mask:
    """The trimap: a wide unknown band around hair, a narrow one around clothes; the face itself is certain."""
    unit = face_size(face)
    inner = (BODY_IN + (HAIR_IN - BODY_IN) * hair) * unit
    outer = (BODY_OUT + (HAIR_OUT - BODY_OUT) * hair) * unit
    known = trimap(confidence, inner, outer)
    known[depth(_hull(confidence.shape, face)) > BODY_IN * unit] = KNOWN_IN
    return known


def _settled(matte: Mask, face: Face, hair: Mask) -> Mask:
    """Broad veils become nothing and broad gauze becomes solid; what is as fine as hair stays where it stands out."""
    side = 2 * max(1, round(FINE * face_size(face))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    broad = cv2.morphologyEx(matte, cv2.MORPH_OPEN, kernel)
    solid = _ramp((broad - VEIL) / (1 - 2 * VEIL))
    fine = _plain(matte - broad, solid < 0.5, TEXTURED * face_size(face))
    # Beside clothes only the soft edge itself is left.
    edge = cv2.dilate((solid > 0.02).astype(np.float32), np.ones((3, 3), np.uint8))
    return np.clip(fine * np.maximum(hair, edge) + solid, 0, 1).astype(np.float32)


def _plain(fine: Mask, outside: NDArray[np.bool_], reach: float) -> Mask:
    """Fine structure without what the room's texture leaves of itself."""
    window = (2 * round(reach) + 1,) * 2
    count = cv2.blur(outside.astype(np.float32), window)
    mean = cv2.blur(np.where(outside, fine, np.float32(0)), window) / np.maximum(count, 1e-3)
    left = np.maximum(fine - TEXTURE * mean, 0)
    return (left * _ramp(left / FAINT)).astype(np.float32)


def _ramp(share: NDArray[np.floating]) -> Mask:
    """0 below 0, 1 above 1, smooth between."""
    share = np.clip(share, 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _belief(confidence: Mask, face: Face) -> Mask:
    """How much the segmenter's word counts in matting: little at its own outline, where it sees no hair."""
    away = (depth(confidence > 0.5) + depth(confidence <= 0.5)) / (DOUBT * face_size(face))
    return (BELIEF * np.minimum(away, 1) ** 2).astype(np.float32)


def _filled(confidence: Mask, face: Face) -> Mask:
    """Without the small holes that the segmenter leaves in patterned clothes; gaps under an arm are larger."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((confidence < 0.9).astype(np.uint8), connectivity=4)
    height, width = confidence.shape
    out = confidence.copy()
    for label, (left, top, wide, tall, area) in enumerate(stats[1:], start=1):
        inside = left > 0 and top > 0 and left + wide < width and top + tall < height
        if inside and area < HOLE * face_size(face) ** 2:
            out[labels == label] = 1
    return out


def _another(other: Face, face: Face) -> bool:
    (x, y), (own_x, own_y) = other.box.centre, face.box.centre
    return np.hypot(x - own_x, y - own_y) > 0.5 * face_size(face) and face_size(other) > 0.3 * face_size(face)


@contextmanager
def _bare_packages() -> Iterator[None]:
    """Let single modules of pymatting load without running its packages' own `__init__`."""
    names = ("pymatting", "pymatting.laplacian", "pymatting.preconditioner", "pymatting.solver")
    added = []
    try:
        for name in names:
            spec = None if name in sys.modules else importlib.util.find_spec(name)
            if spec is not None:
                sys.modules[name] = importlib.util.module_from_spec(spec)
                added.append(name)
        yield
    finally:
        for name in added:
            del sys.modules[name]


def _load_solver() -> _Solver:
    """The three functions; `import pymatting` compiles all of its methods, 38 s instead of 4."""
    with _bare_packages():
        laplacian = importlib.import_module("pymatting.laplacian.cf_laplacian")
        preconditioner = importlib.import_module("pymatting.preconditioner.ichol")
        solver = importlib.import_module("pymatting.solver.cg")
    # It prints when a shift is too small and another one is tried; standard output belongs to the command line.
    preconditioner.__dict__["print"] = logging.getLogger(__name__).debug
    return _Solver(laplacian.cf_laplacian, preconditioner.ichol, solver.cg)


def make(settings: Settings, models: Models, engines: Engines) -> SelfieMatter:
    """Load the segmenter; matting is compiled on first use or by `warm`."""
    model = models.file("selfie", "selfie_segmentation.tflite").read_bytes()
    options = ImageSegmenterOptions(
        base_options=BaseOptions(model_asset_buffer=model), output_confidence_masks=True, output_category_mask=False
    )
    return SelfieMatter(ImageSegmenter.create_from_options(options), engines.finder)


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing."""
    return models.missing("selfie")
