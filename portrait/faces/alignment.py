"""Faces as face networks expect them: levelled and scaled by five landmarks onto a square of a known size."""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.faces.geometry import Affine, inverse
from portrait.types import Face

Floats: TypeAlias = NDArray[np.float32]

FFHQ = np.array(
    [[0.37691, 0.46864], [0.62286, 0.46913], [0.50124, 0.61331], [0.39309, 0.72541], [0.61150, 0.72490]], np.float64
)
"""Eyes, nose tip and mouth corners on a square of side 1 as FFHQ crops faces (Karras and others 2019): the five points
that GFPGAN, CodeFormer and RestoreFormer align to, over their 512 pixels."""


def onto(points: Points, target: NDArray[np.floating]) -> Affine:
    """The turn, scale and shift that brings points closest to their targets (least squares; Umeyama 1991)."""
    # As complex numbers, turning and scaling is one multiplication.
    here = points[:, 0].astype(np.float64) + 1j * points[:, 1]
    there = np.asarray(target[:, 0] + 1j * target[:, 1])
    centred = here - here.mean()
    power = float((np.abs(centred) ** 2).sum())
    turn = complex((centred.conj() * (there - there.mean())).sum() / power) if power > 1e-9 else 1 + 0j
    shift = complex(there.mean() - turn * here.mean())
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]], np.float64)


def ffhq(face: Face, side: int) -> Affine:
    """The map from a picture to the square of `side` pixels in which FFHQ would show the face."""
    # Half a pixel: the middle of the square is the middle of its pixels.
    return onto(face.landmarks, FFHQ * side - 0.5)


def scale_of(matrix: Affine) -> float:
    """How many pixels one pixel becomes."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def cut(image: Image, matrix: Affine, side: int, border: int = cv2.BORDER_REFLECT_101) -> Image:
    """A square of `side` pixels; a picture that is shrunk is averaged first, so that nothing flickers."""
    scale = scale_of(matrix)
    if scale < 0.67:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        share = np.array([image.shape[1] / size[0], image.shape[0] / size[1]])
        # Pixel centres of the small picture, in those of the large one.
        grown = np.array([[share[0], 0, share[0] / 2 - 0.5], [0, share[1], share[1] / 2 - 0.5], [0, 0, 1]])
        image, matrix = small, matrix @ grown
    return np.asarray(cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=border), np.uint8)


def back(values: Floats, matrix: Affine, shape: tuple[int, ...], border: float = 0.0) -> Floats:
    """Values on the square, H×W or H×W×C, in the pixels of the picture; `border` beyond it."""
    out = cv2.warpAffine(
        values,
        inverse(matrix),
        (shape[1], shape[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[border] * 4,
    )
    return np.asarray(out, np.float32)


def square(side: int, soft: float = 0.12) -> Mask:
    """1 in the middle of a square, falling smoothly to 0 at its edge over `soft` of its side."""
    places = (np.arange(side, dtype=np.float32) + 0.5) / side
    ramp = np.clip(np.minimum(places, 1 - places) / soft, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.asarray(np.minimum(ramp[:, None], ramp[None]), np.float32)
