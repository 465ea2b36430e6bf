"""Tells sunglasses from clear glasses, shadowed eyes and closed eyes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image
from portrait.faces.alignment import FFHQ, crop_aligned, ffhq_alignment
from portrait.faces.geometry import box_slices, transform_face
from portrait.images.color import to_linear
from portrait.types import Face

SIDE = 192
"""Side of the levelled square that is read, pixels."""
UNIT = float(FFHQ[1, 0] - FFHQ[0, 0]) * SIDE
"""Distance between the eyes in that square."""
EDGE_WIDTH = 0.07
"""Width over which the edge of a lens is measured, in distances between the eyes."""
SLIPPED = (0.0, 0.15, 0.3)
"""How far below the eye the middle of a dark lens is looked for, in the same unit: glasses slip, or are worn on the nose."""
OPAQUE = 2.75
"""Stops by which the brightest of an eye lies below the skin around it: behind dark lenses 2.8 to 6.6, without 0.4 at most,
under a shadow of two and a half stops 2.5."""
TINTED = 0.5
"""Stops by which the skin under the eye lies below the cheek and the nose: 0.3 at most behind clear glasses."""
FRAME_EDGE, LENS_EDGE = 3.0, 1.6
"""Stops from the lower edge of a frame, or of a lens alone, to the cheek; a shadow that ends there makes 2.4 at most."""
LENS_REACH = 0.33
"""Distance from the eye to that edge, over that between the eyes, beyond which it is no edge of the eye socket."""
BLANK, BLANK_EDGE = 1.0, 1.5
"""A mirror: stops between the darkest and the brightest of an eye (0.6 at most; shut eyes 1.1 and more), and of its edge."""
NEAR_EYE = 20.0
"""Degrees of yaw beyond which the eye that is turned away is not looked at."""
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True, slots=True)
class _EyeRegion:
    """What surrounds one eye, in stops (base-2 logarithms of linear light)."""

    darkness: float
    """How far the brightest of the eye, or of what a lens hides a little below it, lies below the skin around it."""
    shade: float
    """How far the skin under the eye lies below cheek and nose."""
    edge: float
    """The largest step between the eye and the cheek."""
    reach: float
    """Distance of that step from the eye, over the distance between the eyes."""
    contrast: float
    """From the darkest to the brightest of the eye."""


def wears_sunglasses(image: Image, face: Face) -> bool:
    """Whether glasses hide the eyes of a face, or darken them by about two stops or more.

    Skin is compared with skin and lenses with what lies around them, so neither the colour of the skin nor the light on the
    whole face matters. Measured on drawn glasses (tests/eyewear.py): dark and mirrored ones on all faces turned by less than
    40°; tints that let a quarter of the light through on most; gradients and weak tints, behind which the eyes are well
    seen, on few; clear glasses, closed eyes, and shadows of two stops over eyes or forehead never.
    """
    regions = _measure_eyes(image, face)
    if abs(face.pose.yaw) > NEAR_EYE:
        regions = regions[:1] if face.pose.yaw > 0 else regions[1:]
    return all(_is_dark_lens(each) for each in regions)


def _is_dark_lens(eye: _EyeRegion) -> bool:
    tinted_edge = eye.edge > FRAME_EDGE or (eye.edge > LENS_EDGE and eye.reach > LENS_REACH)
    return (
        eye.darkness > OPAQUE
        or (eye.shade > TINTED and tinted_edge)
        or (eye.contrast < BLANK and eye.edge > BLANK_EDGE)
    )


def _measure_eyes(image: Image, face: Face) -> list[_EyeRegion]:
    """Measures of the left and the right eye of the picture, in a levelled square."""
    # Only the face is reduced, and not the whole photo.
    rows, columns = box_slices(face.box, image.shape, room=0.8)
    near = transform_face(face, np.array([[1, 0, -columns.start], [0, 1, -rows.start]], np.float64))
    square = crop_aligned(image[rows, columns], ffhq_alignment(near, SIDE), SIDE)
    # Black has a logarithm too: the last term is half of a level above it.
    stops = np.log2(to_linear(square) @ _LUMINANCE + 2.0**-12)
    eyes = FFHQ[:2] * SIDE
    middle = eyes.mean(axis=0)
    # The ridge of the nose and the skin between the brows: a bridge or hair may hide either.
    between = max(
        float(np.median(_part(stops, middle, 0.08, 0.15, 0.3))),
        float(np.median(_part(stops, middle, 0.12, -0.5, -0.25))),
    )
    return [_measure_eye(stops, eye, between) for eye in eyes]


def _measure_eye(stops: NDArray[np.float64], eye: NDArray[np.float64], between: float) -> _EyeRegion:
    cheek = max(float(np.median(_part(stops, eye, 0.2, top, top + 0.25))) for top in (0.5, 0.75))
    skin = min(between, cheek)
    darkest, brightest = np.percentile(_part(stops, eye, 0.2, -0.08, 0.08), (5, 95))
    behind = min(float(np.percentile(_part(stops, eye, 0.2, low - 0.08, low + 0.08), 95)) for low in SLIPPED)
    # The brightest row under the eye: the lower rim of narrow glasses may run there.
    under = np.median(_part(stops, eye, 0.2, 0.1, 0.25), axis=1).max()
    downwards = np.median(_part(stops, eye, 0.12, 0.1, 0.62), axis=1)
    stride = round(EDGE_WIDTH * UNIT)
    steps = downwards[stride:] - downwards[:-stride]
    place = int(steps.argmax())
    return _EyeRegion(
        darkness=skin - behind,
        shade=skin - float(under),
        edge=float(steps[place]),
        reach=0.1 + (place + stride / 2) / UNIT,
        contrast=float(brightest - darkest),
    )


def _part(
    stops: NDArray[np.float64], centre: NDArray[np.float64], half_width: float, top: float, bottom: float
) -> NDArray[np.float64]:
    """A part of the square around `centre`; edges in distances between the eyes, those below it positive."""
    x, y = centre
    rows = slice(round(y + top * UNIT), round(y + bottom * UNIT) + 1)
    return stops[rows, round(x - half_width * UNIT) : round(x + half_width * UNIT) + 1]
