"""Puts a person's own face into a template: no model but the face mesh, no GPU; the embedded default for templates.

The selfie whose pose and expression are nearest to the template's face is warped onto it. Where that selfie shows the far
side of a turned head badly, the near side is mirrored into its place, and nowhere else: a mirrored face is less like the
person. Everything outside the template's face stays as it was, to the bit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image, Mask, Points, Size
from portrait.errors import OperatorError, UserError
from portrait.fusion.blending import WORKING, Scene, bared, grain, read, relight, seat
from portrait.fusion.occluders import in_front, width_of, worn
from portrait.fusion.warp import (
    MIRROR,
    POINTS,
    bend,
    dense,
    pose_like,
    resized,
    seen,
    shrunk,
    spread,
    thin_plate,
    tucked,
)
from portrait.images.color import to_lab
from portrait.photos.quality import outside
from portrait.ports import Progress
from portrait.types import Box, Candidate, Face, Identity, PortraitRequest, Reference, StylePicture

SMALLEST = 48.0
"""Least width of a template's face in pixels: below it eyes are two or three pixels tall, and nobody is recognised."""
CUT = 0.02
"""Largest share of a template's face outside the picture."""
TURNED = 22.0
"""Largest yaw of a template's face, in the mesh's compressed degrees (about 30° of a real head)."""
TILTED = 32.0
"""Largest pitch of a template's face, up or down."""
FARTHEST = 55.0
"""Largest yaw of a selfie that is still warped: at 48 one eye, half the mouth and the nose are seen, which suffices."""
LEAST = 40.0
"""Least width of the face in a selfie, pixels."""
OUTLINE = 0.7
"""How far the person's outline follows the template's: 1 fits its jaw exactly, 0 keeps the person's own."""
CHOICES = 2
"""Candidates drawn at least, so that there is a choice, where the picture is not too large for it."""
LARGE = 6_000_000
"""Pixels of a template from which only as many candidates as were asked for are drawn."""


@dataclass(frozen=True, slots=True)
class _Variation:
    """What sets one candidate apart."""

    rank: int
    """Which reference: 0 is the nearest."""
    outline: float
    contrast: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """A template's face with its surroundings: their left and top in the template, their pixels, the face at working size."""

    number: int
    left: int
    top: int
    image: Image
    mesh: Points
    """In the pixels of `image`."""
    face: Face
    scene: Scene


@dataclass(frozen=True, slots=True, eq=False)
class _Warped:
    """A selfie pulled over a template's face, in the template's pixels."""

    own: Image
    twin: Image
    """The same mirrored; `own` itself where nothing of it is needed."""
    share: Mask
    """How much of each pixel is `own`, at working size."""


@dataclass(frozen=True, slots=True, eq=False)
class _Seated:
    """A face in the template's light; pictures and masks at working size."""

    mixed: Image
    """The warped selfie before anything was done to it."""
    settled: Image
    taken: Mask
    """How much of each pixel it takes in the template."""
    kept: Mask
    """How much of each pixel is still the selfie's, not bare skin put in place of hair."""
    grain: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """A request with its choices made."""

    picture: StylePicture
    faces: dict[int, Face]
    """By number, from left to right."""
    ranked: dict[int, list[Reference]]
    variations: list[_Variation]


class Fusion:
    """Draws people into templates by warping one of their selfies."""

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """At least `request.count` candidates; see `portrait.ports.Painter`. Faces without a person are left alone."""
        return self.first(request, progress)

    def first(self, request: PortraitRequest, progress: Progress, most: int | None = None) -> list[Candidate]:
        """The same, of which so many at most are drawn."""
        chosen = _choose(request)
        faces, ranked, variations = chosen.faces, chosen.ranked, chosen.variations[:most]
        total = len(variations) * len(faces)
        progress(0, total, "Looking at the picture")
        places = [_place(chosen.picture.image, face, number) for number, face in faces.items()]
        candidates = []
        for at, variation in enumerate(variations):
            image, drawn_from = chosen.picture.image.copy(), {}
            for step, place in enumerate(places):
                progress(at * len(places) + step, total, f"Drawing face {place.number}")
                reference = ranked[place.number][variation.rank % len(ranked[place.number])]
                _draw(image, place, reference, variation)
                drawn_from[place.number] = reference.name
            image = sized(image, request.size, [place.face.box for place in places])
            numbers = {"rank": float(variation.rank), "outline": variation.outline, "contrast": variation.contrast}
            candidates.append(Candidate(image, drawn_from, numbers))
        progress(total, total, "Drawn")
        return candidates

    def check(self, request: PortraitRequest) -> StylePicture:
        """The picture that people are put into; raises what keeps them from being put there."""
        return _choose(request).picture

    def over(self, image: Image, request: PortraitRequest, number: int, at: int) -> Image:
        """Face `number` of candidate `at` once more, over another drawing of the same picture."""
        chosen = _choose(request)
        ranked, variation = chosen.ranked[number], chosen.variations[at]
        drawn = image.copy()
        _draw(drawn, _place(image, chosen.faces[number], number), ranked[variation.rank % len(ranked)], variation)
        return drawn


def _choose(request: PortraitRequest) -> _Choice:
    """What can be drawn, or the reason why not."""
    picture = request.style.picture
    if picture is None:
        raise OperatorError("no_picture", f"The style {request.style.id} has no picture to put people into.")
    if not request.people:
        raise UserError("nobody", "Say who is to be put into the picture.")
    faces = {number: _template_face(picture, number) for number in sorted(request.people)}
    ranked = {number: rank(person, faces[number], number) for number, person in request.people.items()}
    variations = _variations(request, picture.image, min(len(each) for each in ranked.values()))
    return _Choice(picture, faces, ranked, variations)


def rank(person: Identity, model: Face, number: int) -> list[Reference]:
    """The references that can be warped onto a face, the nearest in pose and expression first."""
    usable = [each for each in person.references if _usable(each)]
    if not usable:
        raise UserError(
            "no_reference",
            f"None of the photos of the person for face {number} shows the face well enough to be put into a picture. "
            "Add a photo that faces the camera, at least as close as a passport photo.",
        )
    return sorted(usable, key=lambda each: _apart(each, model))


def _usable(reference: Reference) -> bool:
    face = reference.face
    return _mesh(face) is not None and abs(face.pose.yaw) <= FARTHEST and face.box.width >= LEAST


def _apart(reference: Reference, model: Face) -> float:
    """How far a selfie is from a template's face, about in degrees of head pose."""
    own, other = reference.face, model
    turn = abs(own.pose.yaw - other.pose.yaw)
    nod = abs(own.pose.pitch - other.pose.pitch)
    mouth, smile = (abs(one - two) for one, two in zip(expression(own), expression(other), strict=True))
    # A mouth as open as an eye is wide, or a smile a quarter wider, counts as much as 15° of turn; so does a poor photo, and
    # shut eyes as much as 20°.
    poor = 15 * (1 - reference.quality.total) + 20 * (1 - reference.quality.eyes)
    return turn + 0.7 * nod + 30 * mouth + 60 * smile + poor


def expression(face: Face) -> tuple[float, float]:
    """How open the mouth is and how wide, in distances between the outer corners of the eyes."""
    mesh = _mesh(face)
    if mesh is None:
        return 0.0, 0.0

    def between(one: int, other: int) -> float:
        return float(np.linalg.norm(mesh[one] - mesh[other]))

    unit = max(between(33, 263), 1e-6)
    return between(13, 14) / unit, between(61, 291) / unit


def _mesh(face: Face) -> Points | None:
    return None if face.mesh is None or len(face.mesh) < POINTS else face.mesh


def _template_face(picture: StylePicture, number: int) -> Face:
    """A face of the template that can be drawn over, or the reason why not."""
    if not 1 <= number <= len(picture.faces):
        has = "no face" if not picture.faces else f"{len(picture.faces)} face(s), numbered from left to right"
        raise UserError("template_face_missing", f"The picture has {has}; there is no face {number}.")
    face = picture.faces[number - 1]
    if _mesh(face) is None:
        raise OperatorError(
            "no_mesh",
            "Putting a face into a picture needs a face mesh. Set engines.faces to blazeface in the settings.",
        )
    other = "Choose another picture, or leave this face as it is."
    if face.box.width < SMALLEST:
        raise UserError(
            "template_face_small",
            f"Face {number} of the picture is {face.box.width:.0f} pixels wide; at least {SMALLEST:.0f} are needed. {other}",
        )
    if outside(picture.image, face) > CUT:
        raise UserError("template_face_cut", f"Face {number} of the picture is cut off by its border. {other}")
    if abs(face.pose.yaw) > TURNED or abs(face.pose.pitch) > TILTED:
        raise UserError("template_profile", f"Face {number} of the picture is turned too far away. {other}")
    return face


def _variations(request: PortraitRequest, image: Image, references: int) -> list[_Variation]:
    """One for each candidate: each reference as it is, then each again a little differently."""
    large = image.shape[0] * image.shape[1] > LARGE
    count = max(1, request.count) if large else max(request.count, CHOICES)
    chance = np.random.default_rng(request.seed)
    variations = []
    for at in range(count):
        outline, contrast = OUTLINE, 1.0
        if at >= references:
            outline, contrast = float(chance.uniform(0.45, 0.95)), float(chance.uniform(0.88, 1.08))
        variations.append(
            _Variation(at % references, round(outline, 3), round(contrast, 3), int(chance.integers(2**31)))
        )
    return variations


# --- One face --------------------------------------------------------------------------------------------------------


def _place(image: Image, face: Face, number: int) -> _Place:
    cut, mesh, left, top = _cut(image, face, 0.25)
    small, points = shrunk(cut, mesh, min(1.0, WORKING / width_of(mesh)))
    return _Place(number, left, top, cut.copy(), mesh, face, read(small, points))


def _draw(image: Image, place: _Place, reference: Reference, variation: _Variation) -> None:
    """Draw a reference over a face of `image`, in place: nothing outside the face's oval is touched."""
    scene, yaw = place.scene, reference.face.pose.yaw
    cut, mesh, _, _ = _cut(reference.image, reference.face, 0.35)
    source, points = shrunk(cut, mesh, min(1.0, 1.3 * width_of(place.mesh) / width_of(mesh)))
    goal = pose_like(points, scene.mesh, yaw - place.face.pose.yaw, variation.outline)
    warped = _warp(source, points, goal, yaw, place)
    small_own, small_twin = (resized(each, scene.shape) for each in (warped.own, warped.twin))
    mixed = _mixed(small_own, small_twin, warped.share)
    hidden, glasses = worn(mixed, goal, in_front(mixed, goal))
    drawn = relight(scene, to_lab(small_own), goal, hidden, variation.contrast, glasses)
    if warped.twin is not warped.own:
        other = relight(scene, to_lab(small_twin), goal, hidden, variation.contrast, glasses)
        drawn = np.asarray(other + (drawn - other) * warped.share[..., None], np.float32)
    bare = bared(scene, goal, hidden)
    drawn = np.asarray(drawn + (scene.base - drawn) * bare[..., None], np.float32)
    settled, taken = seat(scene, drawn, goal, hidden, glasses)
    rough = grain(place.image, warped.own, place.mesh)
    _compose(image, place, warped, _Seated(mixed, settled, taken, 1 - bare, rough, variation.seed))


def _warp(source: Image, points: Points, goal: Points, yaw: float, place: _Place) -> _Warped:
    """Pull a selfie over the template's face: its `points` come to lie on `goal`, which is at working size."""
    shape, native = place.scene.shape, (place.image.shape[0], place.image.shape[1])
    held = tucked(points, yaw)
    share = spread(seen(points, yaw), goal, shape, 0.05 * place.scene.width)
    # A mirror is not worth its time where less than a hundredth of it would show.
    meshes = [held[:POINTS], held[MIRROR]] if share.min() < 0.99 else [held[:POINTS]]
    pulled = [bend(source, dense(grid, native)) for grid in thin_plate(goal, meshes, shape)]
    return _Warped(pulled[0], pulled[-1], share)


def _compose(image: Image, place: _Place, warped: _Warped, seated: _Seated) -> None:
    """Carry the seated face to the template's own pixels: its light and colour from the working size, its detail from the
    selfie. In strips, so that a face of any size needs little memory."""
    tall, wide = place.image.shape[:2]
    native = (tall, wide) == place.scene.shape
    noise = np.random.default_rng(seated.seed)
    taken, kept, share = (resized(each, (tall, wide)) for each in (seated.taken, seated.kept, warped.share))
    settled, mixed = (resized(each, (tall, wide)) for each in (seated.settled, seated.mixed))
    for start in range(0, tall, 512):
        rows = slice(start, min(start + 512, tall))
        drawn = settled[rows].astype(np.float32)
        if not native:
            sharp = _mixed(warped.own[rows], warped.twin[rows], share[rows])
            drawn += (sharp.astype(np.float32) - mixed[rows]) * kept[rows][..., None]
        drawn += (noise.standard_normal(drawn.shape[:2], np.float32) * seated.grain)[..., None]
        mask = taken[rows][..., None]
        there = image[place.top + rows.start : place.top + rows.stop, place.left : place.left + wide]
        blended = there + (drawn - there) * mask
        there[:] = np.where(mask > 0, np.clip(blended + 0.5, 0, 255).astype(np.uint8), there)


def _cut(image: Image, face: Face, room: float) -> tuple[Image, Points, int, int]:
    """A face with some room around it: pixels, mesh in those pixels, left and top in the picture."""
    mesh = face.mesh if face.mesh is not None else np.zeros((POINTS, 3), np.float32)
    box, around = face.box, room * max(face.box.width, face.box.height)
    left, top = (max(0, math.floor(edge - around)) for edge in (box.left, box.top))
    right = min(image.shape[1], math.ceil(box.right + around))
    bottom = min(image.shape[0], math.ceil(box.bottom + around))
    moved = mesh[:POINTS] - np.array([left, top, 0], np.float32)
    return image[top:bottom, left:right], moved.astype(np.float32), left, top


def _mixed(one: Image, other: Image, share: Mask) -> Image:
    """`one` where the share is 1, `other` where it is 0."""
    if one is other:
        return one
    return np.asarray(other + (one.astype(np.float32) - other) * share[..., None] + 0.5, np.uint8)


def sized(image: Image, size: Size | None, boxes: Sequence[Box]) -> Image:
    """The picture at the asked size: scaled to cover it, then cropped so that the drawn faces stay in the middle."""
    if size is None or (size.height, size.width) == image.shape[:2]:
        return image
    factor = max(size.width / image.shape[1], size.height / image.shape[0])
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    wide, tall = max(size.width, round(image.shape[1] * factor)), max(size.height, round(image.shape[0] * factor))
    grown = cv2.resize(image, (wide, tall), interpolation=way)
    x, y = np.mean([box.centre for box in boxes], axis=0) * factor
    left = int(np.clip(x - size.width / 2, 0, wide - size.width))
    top = int(np.clip(y - size.height * 0.45, 0, tall - size.height))
    return np.ascontiguousarray(grown[top : top + size.height, left : left + size.width], np.uint8)


def make(settings: Settings, models: Models, engines: Engines) -> Fusion:
    """Nothing to load: faces come with their meshes."""
    return Fusion()


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing: nothing ever is."""
    return []
