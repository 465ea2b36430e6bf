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
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.models import Models
from pipelines.settings import Settings
from portrait.color import to_lab
from portrait.errors import OperatorError, UserError
from portrait.ports import Progress
from portrait.quality import outside
from portrait.seating import WORKING, Scene, fill, in_front, read, relight, seat, width_of
from portrait.types import (
    Box,
    Candidate,
    Face,
    Identity,
    Image,
    Mask,
    Points,
    PortraitRequest,
    Reference,
    Size,
    StylePicture,
)
from portrait.warp import MIRROR, POINTS, bend, dense, pose_like, seen, spread, thin_plate, tucked

SMALLEST = 48.0
"""Least width of a template's face in pixels: below it eyes are two or three pixels tall, and nobody is recognised."""
CUT = 0.02
"""Largest share of a template's face outside the picture."""
TURNED = 28.0
"""Largest yaw of a template's face, in the mesh's compressed degrees (about 40° of a real head)."""
TILTED = 32.0
"""Largest pitch of a template's face, up or down."""
FARTHEST = 55.0
"""Largest yaw of a selfie that is still warped: at 48 one eye, half the mouth and the nose are seen, which suffices."""
LEAST = 40.0
"""Least width of the face in a selfie, pixels."""
OUTLINE = 0.7
"""How far the person's outline follows the template's: 1 fits its jaw exactly, 0 keeps the person's own."""
CHOICES = 3
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
    face: Face
    scene: Scene


class Fusion:
    """Draws people into templates by warping one of their selfies."""

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """At least `request.count` candidates; see `portrait.ports.Painter`. Faces without a person are left alone."""
        picture = request.style.picture
        if picture is None:
            raise OperatorError("no_picture", f"The style {request.style.id} has no picture to put people into.")
        faces = {number: _template_face(picture, number) for number in sorted(request.people)}
        ranked = {number: rank(person, faces[number], number) for number, person in request.people.items()}
        variations = _variations(request, picture.image, min(len(each) for each in ranked.values()))
        total = len(variations) * len(faces)
        progress(0, total, "Looking at the picture")
        places = [_place(picture.image, face, number) for number, face in faces.items()]
        candidates = []
        for at, variation in enumerate(variations):
            image, drawn_from = picture.image.copy(), {}
            for step, place in enumerate(places):
                progress(at * len(places) + step, total, f"Drawing face {place.number}")
                reference = ranked[place.number][variation.rank % len(ranked[place.number])]
                _draw(image, place, reference, variation)
                drawn_from[place.number] = reference.name
            image = _sized(image, request.size, [place.face.box for place in places])
            numbers = {"rank": float(variation.rank), "outline": variation.outline, "contrast": variation.contrast}
            candidates.append(Candidate(image, drawn_from, numbers))
        progress(total, total, "Drawn")
        return candidates


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
    # A mouth as open as an eye is wide, or a smile a quarter wider, counts as much as 15° of turn; so does a poor photo.
    return turn + 0.7 * nod + 30 * mouth + 60 * smile + 15 * (1 - reference.quality.total)


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
    small, points = _shrunk(cut, mesh, min(1.0, WORKING / width_of(mesh)))
    return _Place(number, left, top, cut.copy(), face, read(small, points))


def _draw(image: Image, place: _Place, reference: Reference, variation: _Variation) -> None:
    """Draw a reference over a face of `image`, in place: nothing outside the face's oval is touched."""
    scene = place.scene
    cut, mesh, _, _ = _cut(reference.image, reference.face, 0.35)
    large = width_of(scene.mesh) * place.image.shape[1] / scene.image.shape[1]
    source, points = _shrunk(cut, mesh, min(1.0, 1.3 * large / width_of(mesh)))
    yaw = reference.face.pose.yaw
    goal = pose_like(points, scene.mesh, yaw - place.face.pose.yaw, variation.outline)
    held = tucked(points, yaw)
    native = place.image.shape[:2]
    share = spread(seen(points, yaw), goal, scene.shape, 0.05 * scene.width)
    own = _pulled(source, goal, held[:POINTS], scene.shape, native)
    twin = _pulled(source, goal, held[MIRROR], scene.shape, native) if share.min() < 0.99 else own
    small_own, small_twin = (_resized(each, scene.shape) for each in (own, twin))
    mixed = _mixed(small_own, small_twin, share)
    hidden = in_front(mixed, goal)
    drawn = relight(scene, to_lab(small_own), goal, hidden, variation.contrast)
    if twin is not own:
        other = relight(scene, to_lab(small_twin), goal, hidden, variation.contrast)
        drawn = np.asarray(other + (drawn - other) * share[..., None], np.float32)
    settled, taken = seat(scene, fill(scene, drawn, goal, hidden), goal, hidden)
    _compose(image, place, (own, twin, share), (mixed, settled, taken), variation)


def _pulled(source: Image, goal: Points, points: Points, shape: tuple[int, int], native: tuple[int, ...]) -> Image:
    """The selfie warped so that `points` lie on `goal` (at working size), in the pixels of the template."""
    return bend(source, dense(thin_plate(goal, points, shape), (native[0], native[1])))


def _compose(
    image: Image,
    place: _Place,
    layers: tuple[Image, Image, Mask],
    seated: tuple[Image, Image, Mask],
    variation: _Variation,
) -> None:
    """Carry the seated face to the template's own pixels: its light and colour from the working size, its detail from the
    selfie. In strips, so that a face of any size needs little memory."""
    mixed, settled, taken = seated
    own, twin, share = layers
    tall, wide = place.image.shape[:2]
    grain = _grain(place, own)
    noise = np.random.default_rng(variation.seed)
    native = (tall, wide) == place.scene.shape
    taken = _resized(taken, (tall, wide))
    share, base, blurred = (_resized(each, (tall, wide)) for each in (share, settled, mixed))
    for start in range(0, tall, 512):
        rows = slice(start, min(start + 512, tall))
        drawn = base[rows].astype(np.float32)
        if not native:
            drawn += _mixed(own[rows], twin[rows], share[rows]).astype(np.float32) - blurred[rows]
        if grain > 0:
            drawn += (noise.standard_normal(drawn.shape[:2], np.float32) * grain)[..., None]
        mask = taken[rows][..., None]
        there = image[place.top + rows.start : place.top + rows.stop, place.left : place.left + wide]
        blended = there + (drawn - there) * mask
        there[:] = np.where(mask > 0, np.clip(blended + 0.5, 0, 255).astype(np.uint8), there)


def _grain(place: _Place, drawn: Image) -> float:
    """Standard deviation of the noise that the template has and the drawn face lacks, in levels."""
    mesh = place.scene.mesh * (place.image.shape[1] / place.scene.image.shape[1])
    middle = mesh[[50, 280], :2].mean(axis=0)  # between the cheeks
    reach = 0.3 * width_of(mesh)
    box = [int(max(0, value)) for value in (middle[1] - reach, middle[1] + reach, middle[0] - reach, middle[0] + reach)]
    there, here = (_noise(each[box[0] : box[1], box[2] : box[3]]) for each in (place.image, drawn))
    return min(4.0, math.sqrt(max(0.0, there**2 - here**2)))


def _noise(image: Image) -> float:
    """Noise of a picture, robustly: the median of what a 3×3 Laplacian leaves (Immerkær 1996; its kernel has norm 6)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    left = cv2.filter2D(grey, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32))
    return float(np.median(np.abs(left))) / 0.6745 / 6


def _cut(image: Image, face: Face, room: float) -> tuple[Image, Points, int, int]:
    """A face with some room around it: pixels, mesh in those pixels, left and top in the picture."""
    mesh = face.mesh if face.mesh is not None else np.zeros((POINTS, 3), np.float32)
    box, around = face.box, room * max(face.box.width, face.box.height)
    left, top = (max(0, math.floor(edge - around)) for edge in (box.left, box.top))
    right = min(image.shape[1], math.ceil(box.right + around))
    bottom = min(image.shape[0], math.ceil(box.bottom + around))
    moved = mesh[:POINTS] - np.array([left, top, 0], np.float32)
    return image[top:bottom, left:right], moved.astype(np.float32), left, top


def _shrunk(image: Image, mesh: Points, factor: float) -> tuple[Image, Points]:
    """The picture and its mesh made smaller by averaging; never larger."""
    if factor >= 1:
        return np.ascontiguousarray(image), mesh
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    scale = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]])
    points = mesh.copy()
    points[:, :2] = (mesh[:, :2] + 0.5) * scale - 0.5
    points[:, 2] *= float(scale[0])
    return np.asarray(small, np.uint8), points


def _resized(values: NDArray, shape: tuple[int, ...]) -> NDArray:
    if values.shape[:2] == tuple(shape[:2]):
        return values
    way = cv2.INTER_AREA if shape[0] < values.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (shape[1], shape[0]), interpolation=way), values.dtype)


def _mixed(one: Image, other: Image, share: Mask) -> Image:
    """`one` where the share is 1, `other` where it is 0."""
    if one is other:
        return one
    return np.asarray(other + (one.astype(np.float32) - other) * share[..., None] + 0.5, np.uint8)


def _sized(image: Image, size: Size | None, boxes: Sequence[Box]) -> Image:
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
