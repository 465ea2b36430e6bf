"""Glasses, clear and dark, and shadows over eyes, drawn in linear light on photos of `tests.selfies`.

Every function takes and gives H×W×3 uint8 RGB. Lengths are shares of the distance between the eyes.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image
from portrait.faces.mesh import BROWS, EYES, FACE_SIDES, UNDER_EYES
from portrait.images.color import from_linear, to_linear
from portrait.types import Face

Masks = tuple[NDArray[np.float32], NDArray[np.float32]]
SAMPLES = 4
"""Samples a pixel along each side: edges are as soft as a lens draws them."""
OUTLINES = {"round": (0.36, 0.34, 1.0), "square": (0.42, 0.32, 0.35), "small": (0.32, 0.22, 1.0)}
"""Half width and half height of a lens, and the exponent of its outline: 1 is an ellipse, less is more of a rectangle."""
BLACK = (0.01, 0.01, 0.012)
"""A frame's colour in linear light."""


def sunglasses(
    image: Image, face: Face, shape: str = "round", through: Sequence[float] = (0.0, 0.0, 0.0), mirror: float = 0.0
) -> Image:
    """Dark glasses that let `through` of the light through, or reflect something as bright as `mirror`."""
    lenses, frame = _masks(image, face, shape)
    light = to_linear(image).astype(np.float64)
    glass = light * np.array(through) + 0.004 + mirror * np.array([0.8, 0.9, 1.0])
    return _framed(light, glass, lenses, frame)


def clear_glasses(image: Image, face: Face, shape: str = "round", thick: bool = False) -> Image:
    """Clear glasses; a thick frame is twice as broad."""
    lenses, frame = _masks(image, face, shape)
    if thick:
        frame = cv2.dilate(frame, np.ones((3, 3), np.uint8), iterations=max(1, round(face.box.width * 0.012)))
    light = to_linear(image).astype(np.float64)
    return _framed(light, light * 0.92 + 0.005, lenses, np.asarray(frame, np.float32))


def shaded_eyes(image: Image, face: Face, stops: float, soft: float) -> Image:
    """Light from above: the eye sockets darker by `stops`, with edges as `soft` as a share of the face's width."""
    mesh, mask = _mesh(face), np.zeros(image.shape[:2], np.float32)
    for eye, brow, under in zip(EYES, BROWS, UNDER_EYES, strict=True):
        points = np.vstack([mesh[list(part)] for part in (eye, brow, under)]).round().astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(points), 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.3, soft * face.box.width))[..., None]
    return from_linear(to_linear(image) * (1 - mask + mask * 2.0**-stops))


def shaded_forehead(image: Image, face: Face, stops: float, to: float) -> Image:
    """The shadow of a cap, down to a share of the way from the eyes to the mouth."""
    eyes, mouth = face.landmarks[:2].mean(axis=0), face.landmarks[3:].mean(axis=0)
    down = (mouth - eyes) / np.hypot(*(mouth - eyes))
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    edge = eyes + (mouth - eyes) * to
    below = (columns - edge[0]) * down[0] + (rows - edge[1]) * down[1]
    shadow = 1 / (1 + np.exp(np.clip(below / (0.01 * face.box.width + 0.3), -30, 30)))
    return from_linear(to_linear(image) * (1 - shadow[..., None] * (1 - 2.0**-stops)))


def _framed(
    light: NDArray[np.float64], glass: NDArray[np.float64], lenses: NDArray[np.float32], frame: object
) -> Image:
    out = light * (1 - lenses[..., None]) + glass * lenses[..., None]
    share = np.asarray(frame)[..., None]
    return from_linear(out * (1 - share) + np.array(BLACK) * share)


def _masks(image: Image, face: Face, shape: str) -> Masks:
    """Where the lenses are, and their frame with bridge and temples; H×W, 0..1."""
    mesh, eyes = _mesh(face), face.landmarks[:2].astype(np.float64)
    axis = eyes[1] - eyes[0]
    near = max(np.cos(np.radians(face.pose.yaw)), 0.5)
    unit = float(np.hypot(*axis)) / near
    across = axis / np.hypot(*axis)
    down = np.array([-across[1], across[0]])
    size = (image.shape[1] * SAMPLES, image.shape[0] * SAMPLES)
    lenses, frame = (np.zeros(size[::-1], np.uint8) for _ in range(2))
    half_width, half_height, power = OUTLINES[shape]
    turn = np.linspace(0, 2 * np.pi, 80)
    x = half_width * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** power
    y = half_height * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** power
    broad = max(1, round(0.035 * unit * SAMPLES))
    for eye, out, side in zip(eyes, (-1, 1), FACE_SIDES, strict=True):
        centre = eye + down * 0.04 * unit + across * out * 0.03 * unit * near
        points = ((centre + np.outer(x * unit * near, across) + np.outer(y * unit, down) + 0.5) * SAMPLES).round()
        cv2.fillPoly(lenses, [points.astype(np.int32)], 255)
        cv2.polylines(frame, [points.astype(np.int32)], True, 255, broad)
        _line(frame, centre + across * out * 0.4 * unit * near, mesh[side] - (0, 0.03 * unit), broad)
    inner = [
        eye + down * 0.02 * unit + across * sign * 0.3 * unit * near for eye, sign in zip(eyes, (1, -1), strict=True)
    ]
    _line(frame, inner[0], inner[1], broad)
    shown = [
        cv2.resize(each, size_of(image), interpolation=cv2.INTER_AREA) / np.float32(255) for each in (lenses, frame)
    ]
    return np.asarray(shown[0], np.float32), np.asarray(shown[1], np.float32)


def size_of(image: Image) -> tuple[int, int]:
    """Width and height, as OpenCV takes them."""
    return image.shape[1], image.shape[0]


def _line(canvas: NDArray[np.uint8], start: NDArray[np.float64], end: NDArray[np.float64], broad: int) -> None:
    places = [tuple(int(value) for value in (each * SAMPLES).round()) for each in (start, end)]
    cv2.line(canvas, places[0], places[1], 255, broad)


def _mesh(face: Face) -> NDArray[np.float64]:
    if face.mesh is None:
        raise ValueError("this needs a face with a mesh")
    return face.mesh[:, :2].astype(np.float64)
