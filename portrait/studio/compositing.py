"""Sets a person before a backdrop: light wrap, tint and grain make both one picture."""

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Size, random_generator
from portrait.images.filters import fast_mirrored_blur
from portrait.images.masks import face_size
from portrait.studio import backdrops, picture_backdrop
from portrait.studio.backdrops import BackdropPicture, Light
from portrait.studio.lens import GRAIN
from portrait.studio.subject import Subject

Floats = NDArray[np.float32]

LIGHT_WRAP_REACH = 0.010
"""Reach of the backdrop's light around the person's edge (light wrap), over the picture's height."""
LIGHT_WRAP_SHARE = 0.30
"""Share of the backdrop's colour at the very edge."""
MAX_RELIGHT = 0.055
"""Largest change of skin by the backdrop's light, as a factor of its sRGB value: about ΔE 3.5 on light skin."""


def compose_portrait(subject: Subject, backdrop: str | BackdropPicture, seed: int) -> tuple[Image, Image]:
    """The portrait before a painted backdrop by its name, or before a picture, and the same without retouch and relight.

    Raises `KeyError` for a backdrop that is not there.
    """
    height, width = subject.alpha.shape
    back, light = _backdrop(backdrop, subject, Size(width, height), seed)
    random = random_generator(seed)
    noise = random.standard_normal((height, width), np.float32)
    compositor = _Compositor(back, subject, light, noise)
    before = compositor.composite(subject.plain)
    rows, columns = _skin_window(subject)
    after = before.copy()
    after[rows, columns] = compositor.composite(_relight(subject, light, rows, columns), rows, columns)
    return after, before


def _backdrop(backdrop: str | BackdropPicture, subject: Subject, size: Size, seed: int) -> tuple[Image, Light]:
    """The backdrop at a size and its light."""
    if isinstance(backdrop, BackdropPicture):
        # Never mirrored: there may be words or a place that people know in it.
        return picture_backdrop.paint(backdrop, size, seed), picture_backdrop.light_of(backdrop, size)
    light, back = backdrops.light_of(backdrop), backdrops.paint(backdrop, size, seed)
    # A backdrop lit from the other side than the face is mirrored, so that their light agrees.
    if light.side * subject.light_side < 0:
        return np.ascontiguousarray(back[:, ::-1]), replace(light, side=-light.side)
    return back, light


def _skin_window(subject: Subject) -> tuple[slice, slice]:
    """Rows and columns that contain all skin, which alone is retouched and relit."""
    left, top, wide, tall = cv2.boundingRect((subject.skin > 0).astype(np.uint8))
    return slice(top, top + max(tall, 1)), slice(left, left + max(wide, 1))


def _relight(subject: Subject, light: Light, rows: slice, columns: slice) -> Image:
    """The retouched person with skin a little lighter on the side of the backdrop's light, a little darker on the other."""
    unit, middle = face_size(subject.face), subject.face.box.centre[0]
    across = (np.arange(columns.start, columns.stop, dtype=np.float32) - middle) / (0.7 * unit)
    # As far as the selfie's own light comes from that side, nothing needs to be added.
    amount = float(np.clip(light.side - 0.7 * subject.light_side, -1, 1))
    gain = MAX_RELIGHT * amount * np.tanh(across)[None, :] * subject.skin[rows, columns]
    image = subject.retouched[rows, columns].astype(np.float32)
    # Highlights cannot get lighter: the change fades towards white.
    room = np.clip((255 - image.max(axis=2)) / 60, 0, 1)
    return np.asarray(np.clip(image * (1 + gain * room)[..., None] + 0.5, 0, 255), np.uint8)


class _Compositor:
    """Sets a person before a backdrop; holds what is the same with and without retouch: alpha, light wrap, tint, grain."""

    def __init__(self, back: Image, subject: Subject, light: Light, noise: Floats) -> None:
        height = back.shape[0]
        self._alpha = subject.alpha
        grain = GRAIN
        extra = math.sqrt(max(min(subject.noise, 4.0) ** 2 - grain**2, 0))
        self._back = back + (noise * np.float32(extra))[..., None]
        # Grain for a person whose own was lost in enlarging, so that person and backdrop have the same.
        missing = math.sqrt(max(grain**2 - subject.noise**2, 0))
        self._grain = noise * np.float32(missing)
        self._backdrop_blur = fast_mirrored_blur(back.astype(np.float32), 0.03 * height)
        self._wrap = subject.alpha * fast_mirrored_blur(1 - subject.alpha, LIGHT_WRAP_REACH * height) * LIGHT_WRAP_SHARE
        rows = np.linspace(0, 1, height, dtype=np.float32)
        # Studio light is aimed at the face; the chest gets less of it.
        fall = 1 - 0.09 * np.clip((rows - 0.68) / 0.32, 0, 1) ** 1.5
        self._tint = (fall[:, None] * np.array(light.colour, np.float32) ** np.float32(0.35)).astype(np.float32)

    def composite(self, front: Image, rows: slice = slice(None), columns: slice = slice(None)) -> Image:
        """The person `front` before the backdrop, or some rows and columns of that; `front` is as large as they are."""
        wrap = self._wrap[rows, columns, None]
        person = front * self._tint[rows, None, :]
        person += (self._backdrop_blur[rows, columns] - person) * wrap
        person += self._grain[rows, columns, None]
        back = self._back[rows, columns]
        return np.asarray(np.clip(back + (person - back) * self._alpha[rows, columns, None] + 0.5, 0, 255), np.uint8)
