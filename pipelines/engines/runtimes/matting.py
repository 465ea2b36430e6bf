"""Mattes by a network that is given head and shoulders: what the engines of mattes share."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.engines.runtimes import pymatting_solver
from portrait.arrays import Image, Mask
from portrait.errors import EngineError
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.images.closed_form import solve_closed_form
from portrait.images.masks import (
    KNOWN_IN,
    KNOWN_OUT,
    UNKNOWN,
    disc,
    distance_inside,
    face_size,
    guided_filter,
    keep_connected,
)
from portrait.images.matting import face_hull, fill_holes, hair_mask, part_people, settle
from portrait.images.resize import scaled_size
from portrait.images.windows import Window
from portrait.ports import FaceFinder, Matter
from portrait.types import Face

ASIDE, ABOVE, BELOW = 1.9, 1.6, 2.4
"""Reach of the window from the face's centre, in face sizes: what a portrait with shoulders shows, and a margin."""
MATTING_FACE_SIZE = 120
"""Face size in pixels at which matting works: it bounds the time, and twice as many gained nothing on the tests'
composites."""
GUIDED_RADIUS = 0.02
"""Radius of the guided filter in face sizes."""
GUIDED_EPSILON = 1e-5
"""Its regularisation in squared 0..1 colour: a step of 1 % of contrast still counts as an edge."""
CERTAIN_LOW, CERTAIN_HIGH = 0.03, 0.97
"""Opacities of a network beyond which its word is taken."""
GROWN = 0.04
"""Width in face sizes by which the unknown band is wider than what the network finds half opaque."""
LOST = 0.8
"""Share of the face in a network's matte below which it has not found the person, and the silhouette counts too."""
PARTED = 0.1
"""The same at the line between two people: it is drawn on a small picture, and hair crosses it."""
BELIEF, SOFT_BELIEF, PARTED_BELIEF = 0.3, 0.03, 0.003
"""Weight of the network's matte against the matting Laplacian, whose diagonal is about 1: where it is sure, where it is
between 0.1 and 0.9, and at the line between two people. Least error on the tests' composites, old and new together."""
GAP = 0.0025
"""Largest hole around the head that is closed, in squared face sizes: between neck and long hair one sees the room."""
SURE_INSIDE = 0.025
"""Distance from the edge of the face's mesh, in face sizes, beyond which the face itself is known."""
PARTING_FACE_SIZE = 40
"""Face size in pixels at which people are told apart."""

Solver: TypeAlias = Callable[[Image, Mask, Mask, Mask], Mask]
"""Solves the unknown pixels of a trimap of a picture, drawn to a prior by its weight."""


def matting_window(image: Image, face: Face) -> Window:
    """Head and shoulders of a face; raises `EngineError` (`face_outside`) where less than 8 pixels of them are there."""
    height, width = image.shape[:2]
    (x, y), unit = face.box.centre, face_size(face)
    left, right = max(0, round(x - ASIDE * unit)), min(width, round(x + ASIDE * unit))
    top, bottom = max(0, round(y - ABOVE * unit)), min(height, round(y + BELOW * unit))
    if right - left < 8 or bottom - top < 8:
        raise EngineError("face_outside", "The face lies outside of the photo that was to be cut out.")
    return Window(left, top, right, bottom)


def other_faces(finder: FaceFinder, image: Image, face: Face) -> list[Face]:
    """Faces of other people, large enough to stand beside this one."""
    return [other for other in finder.faces(image, 0) if _is_other_person(other, face)]


def _is_other_person(other: Face, face: Face) -> bool:
    (x, y), (own_x, own_y) = other.box.centre, face.box.centre
    return np.hypot(x - own_x, y - own_y) > 0.5 * face_size(face) and face_size(other) > 0.3 * face_size(face)


class NetworkMatting:
    """Mattes by a network that sees head and shoulders; hair is solved by closed-form matting with its matte as a prior."""

    def __init__(
        self, network: Callable[[Image, Face], Mask], rough: Matter, finder: Callable[[], FaceFinder], version: str
    ) -> None:
        """`network` gives the matte of all people in a window, at any size; `rough` is asked for silhouettes."""
        self._network, self._rough, self._finder = network, rough, finder
        self._solve: Solver = solve_closed_form
        self.version = version

    def as_version(self, version: str) -> "NetworkMatting | None":
        """See `portrait.ports.VersionedMatter`: the edges of the first version are solved by pymatting."""
        if version == self.version:
            return self
        if version != f"{self.version.partition(' ')[0]} 1":
            return None
        former = NetworkMatting(self._network, self._rough, self._finder, version)
        former._solve = pymatting_solver.solve_closed_form
        return former

    def matte(self, image: Image, face: Face) -> Mask:
        """How much of each pixel belongs to the person of `face`; see `portrait.ports.Matter`."""
        window = matting_window(image, face)
        part = window.crop(image)
        size = scaled_size(part.shape, min(1.0, MATTING_FACE_SIZE / face_size(face)))
        small = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        others = other_faces(self._finder(), image, face)
        near, *far = (transform_face(each, window.matrix_to(size)) for each in (face, *others))
        found = self._network(part, transform_face(face, window.matrix_to((part.shape[1], part.shape[0]))))
        found = np.asarray(cv2.resize(found, size, interpolation=cv2.INTER_LINEAR), np.float32)
        if _is_lost(found, near):
            found = np.maximum(found, cv2.resize(window.crop(self.silhouette(image, face, others)), size))
        prior, parting = _own_matte(small, found, near, far)
        matte = self._solve(small, *_open_edges(prior, parting, near))
        matte = keep_connected(settle(matte, near, hair_mask(prior, near)), near)
        radius = max(1, round(GUIDED_RADIUS * face_size(near)))
        matte = guided_filter(matte, small, part, radius, GUIDED_EPSILON)
        if matte.shape == image.shape[:2]:
            return matte
        # What lies around head and shoulders is seldom shown: there the silhouette does.
        out = steepened(self.silhouette(image, face, others))
        window.crop(out)[:] = matte
        return out

    def silhouette(self, image: Image, face: Face, others: Sequence[Face] | None = None) -> Mask:
        """See `portrait.ports.Matter`."""
        return self._rough.silhouette(image, face, others)


def steepened(confidence: Mask) -> Mask:
    """A confidence with edges four times as steep, in place."""
    confidence -= 0.5
    confidence *= 4
    confidence += 0.5
    return np.clip(confidence, 0, 1, out=confidence)


def _is_lost(found: Mask, face: Face) -> bool:
    """Whether a network has not seen the person: behind sunglasses and in very close photos that happens."""
    hull = face_hull(found.shape, face)
    return bool(hull.any()) and float(found[hull].mean()) < LOST


def _own_matte(image: Image, found: NDArray[Any], face: Face, others: list[Face]) -> tuple[Mask, NDArray[np.bool_]]:
    """The network's matte of one person alone, the face in it whole, and where the line to other people runs."""
    matte = np.clip(found, 0, 1).astype(np.float32)
    matte[face_hull(matte.shape, face)] = 1
    parting = np.zeros(matte.shape, np.bool_)
    if others:
        own = find_part(image, matte, face, others)
        foreign = (matte > 0.5) & ~own
        kernel = disc(PARTED * face_size(face))
        parting = (cv2.dilate(foreign.astype(np.uint8), kernel) > 0) & (
            cv2.dilate((own & (matte > 0.5)).astype(np.uint8), kernel) > 0
        )
        matte = np.where(own, matte, np.float32(0))
    return fill_holes(keep_connected(matte, face), face, GAP), parting


def find_part(image: Image, matte: Mask, face: Face, others: list[Face]) -> NDArray[np.bool_]:
    """Where the person of `face` is among `others`, on a small picture; see `portrait.images.matting.part_people`."""
    factor = min(1.0, PARTING_FACE_SIZE / face_size(face))
    size = scaled_size(matte.shape, factor)
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    people = np.asarray(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), np.float32)
    near, *far = (transform_face(each, scaling_matrix(factor)) for each in (face, *others))
    own = part_people(small, people, near, far).astype(np.float32)
    return cv2.resize(own, matte.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5


def _open_edges(prior: Mask, parting: NDArray[np.bool_], face: Face) -> tuple[Mask, Mask, Mask]:
    """What is to be solved: the trimap, unknown where the network leaves it open and at the outline; prior and its weight."""
    unit = face_size(face)
    outline = cv2.morphologyEx((prior > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    unknown = ((prior > CERTAIN_LOW) & (prior < CERTAIN_HIGH)) | outline
    unknown = (cv2.dilate(unknown.astype(np.uint8), disc(GROWN * unit)) > 0) | parting
    known = np.where(unknown, UNKNOWN, np.where(prior > 0.5, KNOWN_IN, KNOWN_OUT)).astype(np.float32)
    known[distance_inside(face_hull(prior.shape, face)) > SURE_INSIDE * unit] = KNOWN_IN
    weight = np.where((prior > 0.1) & (prior < 0.9), SOFT_BELIEF, BELIEF)
    return known, prior, np.where(parting, PARTED_BELIEF, weight).astype(np.float32)
