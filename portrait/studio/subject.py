"""A person cut out of a selfie, and framed at a portrait's size: colours without the old room, grain, side of the light."""

from collections.abc import Hashable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Size
from portrait.faces.geometry import Affine, transform_face
from portrait.faces.skin import retouch_skin, skin_mask
from portrait.images.filters import fast_mirrored_blur, smoothstep
from portrait.images.masks import estimate_foreground, face_size
from portrait.studio.composition import Framing
from portrait.studio.crop_search import SPOILED
from portrait.types import Face

Floats = NDArray[np.float32]

BORDER_FADE = 0.06
"""Distance from the photo's border, in face sizes, over which traces in a matte fade out."""


@dataclass(frozen=True, slots=True, eq=False)
class CutOut:
    """The person of a selfie without the background, at the selfie's resolution or what a portrait needs of it."""

    front: Image
    """Colours of the person, spread beyond the edge so that nothing of the old background is left in hair."""
    alpha: Mask
    face: Face
    residue: float
    """How much of the old room sticks to the head, 0..1; see `portrait.images.cut_out`."""
    key: Hashable
    """What distinguishes it from other cut-outs."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A person framed at the portrait's size, before any backdrop."""

    plain: Image
    retouched: Image
    alpha: Mask
    skin: Mask
    face: Face
    framing: Framing
    noise: float
    """Standard deviation of the fine grain, levels of 255."""
    light_side: float
    """Side from which the face is lit in the selfie, -1 left … 1 right."""


def foreground(image: Image, alpha: Mask, face: Face) -> Image:
    """The person's own colours, spread beyond the edge of the matte."""
    unit = face_size(face)
    return _decontaminate_edges(estimate_foreground(image, alpha, max(3, round(0.6 * unit))), alpha, unit)


def fade_border(alpha: Mask, face: Face) -> Mask:
    """The matte without traces at the photo's border: only what is clearly the person reaches it, and does so whole.

    Mattes often fade in the outermost pixels, which would leave a strip between the person and the border. Beyond the
    border the matte goes on as its edge does; a faint trace would become a stripe there.
    """
    unit = face_size(face)
    height, width = alpha.shape
    margin = max(1, round(SPOILED * unit))
    if min(height, width) > 4 * margin:
        inner = alpha[margin:-margin, margin:-margin]
        around = cv2.copyMakeBorder(inner, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
        alpha = np.maximum(alpha, np.asarray(around, np.float32))
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    away = np.minimum(np.minimum(rows, rows[::-1])[:, None], np.minimum(columns, columns[::-1])[None])
    ramp = np.clip(away / max(BORDER_FADE * unit, 1.0), 0, 1)
    clear = smoothstep(fast_mirrored_blur(alpha, 0.5 * BORDER_FADE * unit), 0.15, 0.4)
    return np.asarray(alpha * (ramp + (1 - ramp) * clear), np.float32)


def frame_subject(cut_out: CutOut, framing: Framing, canvas: Size, retouch: float) -> Subject:
    """Enlarge a framed person to the portrait's size, with and without retouch (strength 0..1)."""
    matrix = framing.frame.matrix_to(canvas)
    enlarged = canvas.height / framing.frame.height
    size = (canvas.width, canvas.height)
    front = cv2.warpAffine(cut_out.front, matrix, size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    face = transform_face(cut_out.face, matrix)
    plain = _sharpen(np.asarray(front, np.uint8), enlarged)
    alpha = _frame_alpha(cut_out.alpha, matrix, size)
    if enlarged > 1.5:
        # Enlarged steps of the old pixels would show along smooth outlines.
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 0.3 * enlarged), np.float32)
    skin = skin_mask(plain, face, neck=True)
    retouched = retouch_skin(plain, face, retouch)
    noise, light_side = _estimate_noise(plain, alpha), _light_side(plain, skin, face)
    return Subject(plain, retouched, alpha, skin, face, framing, noise, light_side)


def _frame_alpha(alpha: Mask, matrix: Affine, size: tuple[int, int]) -> Mask:
    # Framings are tried coarsely: a last sliver beyond the edge of the selfie goes on as its edge does.
    framed = cv2.warpAffine(alpha, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(framed, 0, 1), np.float32)


def _decontaminate_edges(front: Image, alpha: Mask, unit: float) -> Image:
    """Give edges the colour of what lies just inside of them, in proportion to how transparent they are.

    What the foreground estimate leaves of a bright old background in hair would be a halo before a dark backdrop.
    """
    solid = (alpha > 0.97).astype(np.float32)
    sigma = 0.045 * unit
    weight = fast_mirrored_blur(solid, sigma)
    inner = fast_mirrored_blur(front * solid[..., None], sigma) / np.maximum(weight, 1e-3)[..., None]
    # Loose hair is too far from anything solid to take its colour.
    share = ((1 - alpha) * np.clip(weight * 8, 0, 1) * 0.8)[..., None]
    return np.asarray(front * (1 - share) + inner * share + 0.5, np.uint8)


def _sharpen(image: Image, enlarged: float) -> Image:
    """Unsharp mask for a picture enlarged `enlarged` times: it steepens existing edges and adds nothing elsewhere."""
    if enlarged <= 1.05:
        return image
    amount = min(0.7, 0.35 * (enlarged - 1))
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = light - cv2.GaussianBlur(light, (0, 0), 0.55 * enlarged)
    # Differences of less than a level are noise and are not sharpened; beyond twelve, strong edges would ring.
    detail = np.sign(detail) * np.clip(np.abs(detail) - 1.0, 0, 12) * amount
    return np.asarray(np.clip(image + detail[..., None] + 0.5, 0, 255), np.uint8)


def _estimate_noise(image: Image, alpha: Mask) -> float:
    """Standard deviation of the finest grain of the person, levels of 255; by the median, so that edges do not count."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = np.abs(light - cv2.GaussianBlur(light, (0, 0), 1.0))[alpha > 0.99]
    # The difference keeps 0.84 of white noise; 0.6745 turns a median into a deviation.
    return float(np.median(fine)) / 0.6745 / 0.84 if len(fine) else 0.0


def _light_side(image: Image, skin: Mask, face: Face) -> float:
    """From which side the face is lit: -1 where its left half is clearly lighter … 1 where the right one is."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    middle = round(face.landmarks[2, 0])
    sides = [light[:, part][skin[:, part] > 0.5] for part in (slice(0, middle), slice(middle, None))]
    if min(len(side) for side in sides) < 64:
        return 0.0
    left, right = (float(np.median(side)) for side in sides)
    return float(np.clip((right - left) / 25, -1, 1))
