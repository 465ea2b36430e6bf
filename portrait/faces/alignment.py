"""Aligned face crops, as face networks expect them: a square onto which five landmarks are fitted."""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.faces.geometry import Affine, invert
from portrait.images.filters import smoothstep
from portrait.images.resize import scaled_size
from portrait.types import Face

Floats: TypeAlias = NDArray[np.float32]

FFHQ = np.array(
    [[0.37691, 0.46864], [0.62286, 0.46913], [0.50124, 0.61331], [0.39309, 0.72541], [0.61150, 0.72490]], np.float64
)
"""Eyes, nose tip and mouth corners on a square of side 1 as FFHQ crops faces (Karras and others 2019): the five points
that GFPGAN, CodeFormer and RestoreFormer align to, over their 512 pixels."""


def estimate_similarity(points: Points, target: NDArray[np.floating]) -> Affine:
    """The similarity transform that brings N×2 points closest to `target` (least squares; Umeyama 1991)."""
    # As complex numbers, turning and scaling is one multiplication.
    here = points[:, 0].astype(np.float64) + 1j * points[:, 1]
    there = np.asarray(target[:, 0] + 1j * target[:, 1])
    centred = here - here.mean()
    power = float((np.abs(centred) ** 2).sum())
    turn = complex((centred.conj() * (there - there.mean())).sum() / power) if power > 1e-9 else 1 + 0j
    shift = complex(there.mean() - turn * here.mean())
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]], np.float64)


def ffhq_alignment(face: Face, side: int) -> Affine:
    """The map from a picture to the square of `side` pixels in which FFHQ shows the face."""
    # Half a pixel: the middle of the square is the middle of its pixels.
    return estimate_similarity(face.landmarks, FFHQ * side - 0.5)


def matrix_scale(matrix: Affine) -> float:
    """Scale of a similarity transform."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def crop_aligned(image: Image, matrix: Affine, side: int, border: int = cv2.BORDER_REFLECT_101) -> Image:
    """The square of `side` pixels to which `matrix` maps the picture, with anti-aliasing where it shrinks."""
    scale = matrix_scale(matrix)
    if scale < 0.67:
        size = scaled_size(image.shape, scale)
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        share = np.array([image.shape[1] / size[0], image.shape[0] / size[1]])
        # Pixel centres of the small picture, in those of the large one.
        enlargement = np.array([[share[0], 0, share[0] / 2 - 0.5], [0, share[1], share[1] / 2 - 0.5], [0, 0, 1]])
        image, matrix = small, matrix @ enlargement
    return np.asarray(cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=border), np.uint8)


def warp_back(values: Floats, matrix: Affine, shape: tuple[int, ...], border: float = 0.0) -> Floats:
    """Values on the square (H×W or H×W×C) warped back to a picture of `shape`; `border` is the value beyond the square."""
    out = cv2.warpAffine(
        values,
        invert(matrix),
        (shape[1], shape[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[border] * 4,
    )
    return np.asarray(out, np.float32)


def feathered_square(side: int, soft: float = 0.12) -> Mask:
    """Mask of `side`×`side`: 1 in the middle, falling smoothly to 0 at the edge over `soft` of the side."""
    places = (np.arange(side, dtype=np.float32) + 0.5) / side
    ramp = smoothstep(np.minimum(places, 1 - places), 0, soft)
    return np.asarray(np.minimum(ramp[:, None], ramp[None]), np.float32)
