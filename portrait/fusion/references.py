"""Which of a person's photos are warped onto a template's face: those that show enough of it, the most alike first."""

from dataclasses import replace

import numpy as np

from portrait.arrays import Points
from portrait.errors import UserError
from portrait.faces.glasses import wears_sunglasses
from portrait.faces.mesh import EYE_LEFT, EYE_RIGHT, INNER_LIPS, MESH_POINTS, MOUTH_LEFT, MOUTH_RIGHT
from portrait.types import Face, Identity, Reference

MAX_SELFIE_YAW = 55.0
"""Largest yaw of a selfie that is still warped: at 48 one eye, half the mouth and the nose are seen, which suffices."""
MIN_SELFIE_WIDTH = 40.0
"""Least width of the face in a selfie, pixels."""


def rank_references(person: Identity, target: Face, number: int) -> list[Reference]:
    """References that can be warped onto `target`, the nearest in pose and expression first; raises `no_reference`.

    `number` is the target's in the template, for the error.
    """
    usable = [each for each in person.references if is_usable(each)]
    if not usable:
        raise UserError(
            "no_reference",
            f"None of the photos of the person for face {number} shows the face well enough to be put into a picture. "
            "Add a photo that faces the camera, at least as close as a passport photo.",
        )
    return sorted(usable, key=lambda each: _dissimilarity(each, target))


def is_usable(reference: Reference) -> bool:
    """Whether a photo shows enough of the face to be warped."""
    face = reference.face
    return full_mesh(face) is not None and abs(face.pose.yaw) <= MAX_SELFIE_YAW and face.box.width >= MIN_SELFIE_WIDTH


def _dissimilarity(reference: Reference, target: Face) -> float:
    """How much a selfie differs from a template's face, roughly in degrees of head pose."""
    source = reference.face
    turn = abs(source.pose.yaw - target.pose.yaw)
    nod = abs(source.pose.pitch - target.pose.pitch)
    expressions = zip(measure_expression(source), measure_expression(target), strict=True)
    mouth, smile = (abs(one - other) for one, other in expressions)
    # A mouth as open as an eye is wide, or a smile a quarter wider, counts as much as 15° of turn; so does a poor photo, and
    # shut eyes as much as 20°.
    poor = 15 * (1 - reference.quality.total) + 20 * (1 - reference.quality.eyes)
    return turn + 0.7 * nod + 30 * mouth + 60 * smile + poor


def measure_expression(face: Face) -> tuple[float, float]:
    """How open and how wide the mouth is, in distances between the outer corners of the eyes; 0, 0 without a mesh."""
    mesh = full_mesh(face)
    if mesh is None:
        return 0.0, 0.0

    def between(one: int, other: int) -> float:
        return float(np.linalg.norm(mesh[one] - mesh[other]))

    unit = max(between(EYE_LEFT, EYE_RIGHT), 1e-6)
    return between(*INNER_LIPS) / unit, between(MOUTH_LEFT, MOUTH_RIGHT) / unit


def full_mesh(face: Face) -> Points | None:
    """The mesh of a face; None where the engine gives none."""
    return None if face.mesh is None or len(face.mesh) < MESH_POINTS else face.mesh


def without_sunglasses(person: Identity, number: int) -> Identity:
    """The person without the photos whose eyes are hidden; raises `UserError` (`no_reference`) where none is left.

    `number` is the template face's, for the error.
    """
    usable = [each for each in person.references if is_usable(each)]
    seen = [each for each in usable if not wears_sunglasses(each.image, each.face)]
    if usable and not seen:
        raise UserError(
            "no_reference",
            f"The photos of the person for face {number} show sunglasses, which would become shadows of glasses. "
            "Add a photo that shows the eyes.",
        )
    return replace(person, references=tuple(each for each in person.references if each in seen or each not in usable))
