"""A person cut out of a selfie, and framed at a portrait's size: colours without the old room, grain, side of the light."""

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Size
from portrait.faces.geometry import Affine, transform_face
from portrait.faces.skin import retouch_around, skin_mask
from portrait.images.filters import mirrored_blur_strips, rows_around, smoothstep
from portrait.images.masks import face_size, remove_background
from portrait.images.resize import strips
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

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        return self.front.nbytes + self.alpha.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A person framed at the portrait's size, before any backdrop."""

    plain: Image
    alpha: Mask
    window: tuple[slice, slice]
    """Rows and columns that contain all skin, which alone is retouched and relit."""
    retouched: Image
    """The window of it, retouched."""
    skin: Mask
    """Of the window."""
    face: Face
    framing: Framing
    noise: float
    """Standard deviation of the fine grain, levels of 255."""
    light_side: float
    """Side from which the face is lit in the selfie, -1 left … 1 right."""

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        return sum(each.nbytes for each in (self.plain, self.alpha, self.retouched, self.skin))


def spread_foreground(image: Image, alpha: Mask, face: Face) -> Image:
    """Spread the person's own colours beyond the edge of the matte; in place."""
    unit = face_size(face)
    remove_background(image, alpha, max(3, round(0.6 * unit)))
    return _decontaminate_edges(image, alpha, unit)


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
        faded = np.maximum(alpha, np.asarray(around, np.float32), out=np.asarray(around, np.float32))
    else:
        faded = alpha.copy()
    down, across = (np.minimum(np.arange(side), np.arange(side)[::-1]).astype(np.float32) for side in alpha.shape)
    for part, soft in mirrored_blur_strips(
        (faded[rows] for rows in strips(height)), faded.shape, 0.5 * BORDER_FADE * unit
    ):
        ramp = np.clip(np.minimum(down[part, None], across) / max(BORDER_FADE * unit, 1.0), 0, 1)
        faded[part] *= ramp + (1 - ramp) * smoothstep(soft, 0.15, 0.4)
    return faded


def frame_subject(cut_out: CutOut, framing: Framing, canvas: Size, retouch: float) -> Subject:
    """Enlarge a framed person to the portrait's size, with and without retouch (strength 0..1)."""
    return make_subject(frame_person(cut_out, framing, canvas), retouch)


@dataclass(frozen=True, slots=True, eq=False)
class FramedPerson:
    """A person at the portrait's size, of whom the cut-out is not needed any more."""

    plain: Image
    alpha: Mask
    face: Face
    framing: Framing


def frame_person(cut_out: CutOut, framing: Framing, canvas: Size) -> FramedPerson:
    """Enlarge a framed person to the portrait's size."""
    matrix = framing.frame.matrix_to(canvas)
    enlarged = canvas.height / framing.frame.height
    size = (canvas.width, canvas.height)
    front = cv2.warpAffine(cut_out.front, matrix, size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    face = transform_face(cut_out.face, matrix)
    plain = _sharpen(np.asarray(front, np.uint8), enlarged)
    alpha = _frame_alpha(cut_out.alpha, matrix, size)
    if enlarged > 1.5:
        # Enlarged steps of the old pixels would show along smooth outlines.
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 0.3 * enlarged, dst=alpha), np.float32)
    return FramedPerson(plain, alpha, face, framing)


def make_subject(person: FramedPerson, retouch: float) -> Subject:
    """Retouch a person (strength 0..1), and find skin, grain and light."""
    plain, alpha, face = person.plain, person.alpha, person.face
    skin = skin_mask(plain, face, neck=True)
    light_side, window = _light_side(plain, skin, face), _skin_window(skin)
    skin = skin[window].copy()
    retouched, noise = _retouched(plain, face, retouch, window), _estimate_noise(plain, alpha)
    return Subject(plain, alpha, window, retouched, skin, face, person.framing, noise, light_side)


def _skin_window(skin: Mask) -> tuple[slice, slice]:
    """Rows and columns that contain all skin; one pixel where there is none."""
    left, top, wide, tall = cv2.boundingRect((skin > 0).astype(np.uint8))
    return slice(top, top + max(tall, 1)), slice(left, left + max(wide, 1))


def _retouched(image: Image, face: Face, strength: float, window: tuple[slice, slice]) -> Image:
    """A window of a picture, its skin retouched."""
    part, changed = retouch_around(image, face, strength)
    rows, columns = (_overlap(*each) for each in zip(window, part, strict=True))
    out = image[window].copy()
    out[rows[0], columns[0]] = changed[rows[1], columns[1]]
    return out


def _overlap(one: slice, other: slice) -> tuple[slice, slice]:
    """Where two ranges overlap, counted from the start of each; empty where they do not."""
    start = max(one.start, other.start)
    stop = max(start, min(one.stop, other.stop))
    return slice(start - one.start, stop - one.start), slice(start - other.start, stop - other.start)


def _frame_alpha(alpha: Mask, matrix: Affine, size: tuple[int, int]) -> Mask:
    # Framings are tried coarsely: a last sliver beyond the edge of the selfie goes on as its edge does.
    framed = cv2.warpAffine(alpha, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    framed = np.asarray(framed, np.float32)
    return np.clip(framed, 0, 1, out=framed)


def _decontaminate_edges(front: Image, alpha: Mask, unit: float) -> Image:
    """Give edges the colour of what lies just inside of them, in proportion to how transparent they are; in place.

    What the foreground estimate leaves of a bright old background in hair would be a halo before a dark backdrop.
    """
    sigma, parts = 0.045 * unit, list(strips(len(alpha)))
    weights = mirrored_blur_strips((alpha[rows] > 0.97 for rows in parts), alpha.shape, sigma)
    colours = (front[rows] * (alpha[rows] > 0.97)[..., None] for rows in parts)
    sums = mirrored_blur_strips(colours, alpha.shape, sigma)
    for (rows, weight), (_, inner) in zip(weights, sums, strict=True):
        # Loose hair is too far from anything solid to take its colour.
        share = ((1 - alpha[rows]) * np.clip(weight * 8, 0, 1) * 0.8)[..., None]
        colour = inner / np.maximum(weight, 1e-3)[..., None]
        front[rows] = front[rows] * (1 - share) + colour * share + np.float32(0.5)
    return front


def _sharpen(image: Image, enlarged: float) -> Image:
    """Unsharp mask for a picture enlarged `enlarged` times: it steepens existing edges and adds nothing elsewhere; in place."""
    if enlarged <= 1.05:
        return image
    amount = min(0.7, 0.35 * (enlarged - 1))
    for rows, detail in _details(image, 0.55 * enlarged):
        # Differences of less than a level are noise and are not sharpened; beyond twelve, strong edges would ring.
        detail = np.sign(detail) * np.clip(np.abs(detail) - 1.0, 0, 12) * amount
        image[rows] = np.clip(image[rows] + detail[..., None] + np.float32(0.5), 0, 255)
    return image


def _details(image: Image, sigma: float) -> Iterator[tuple[slice, Floats]]:
    """What a Gaussian blur of sigma pixels takes from the lightness of a picture, strip by strip, which it may change."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    reach = math.ceil(5 * sigma) + 1  # OpenCV's kernel ends at four sigmas
    for rows in strips(len(light)):
        around, inside = rows_around(rows, len(light), reach)
        part = light[around].astype(np.float32)
        yield rows, np.asarray(part - cv2.GaussianBlur(part, (0, 0), sigma), np.float32)[inside]


def _estimate_noise(image: Image, alpha: Mask) -> float:
    """Standard deviation of the finest grain of the person, levels of 255; by the median, so that edges do not count."""
    fine = np.concatenate([np.abs(detail[alpha[rows] > 0.99]) for rows, detail in _details(image, 1.0)])
    # The difference keeps 0.84 of white noise; 0.6745 turns a median into a deviation.
    return float(np.median(fine, overwrite_input=True)) / 0.6745 / 0.84 if len(fine) else 0.0


def _light_side(image: Image, skin: Mask, face: Face) -> float:
    """From which side the face is lit: -1 where its left half is clearly lighter … 1 where the right one is."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    middle = round(face.landmarks[2, 0])
    sides = [light[:, part][skin[:, part] > 0.5] for part in (slice(0, middle), slice(middle, None))]
    if min(len(side) for side in sides) < 64:
        return 0.0
    left, right = (float(np.median(side)) for side in sides)
    return float(np.clip((right - left) / 25, -1, 1))
