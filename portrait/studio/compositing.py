"""Sets a person before a backdrop: light wrap, tint and grain make both one picture."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Size, random_generator
from portrait.images.filters import for_channels, mirrored_blur_strips, to_levels
from portrait.images.masks import face_size
from portrait.images.resize import strips
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
    # A strip of the backdrop is not needed once the person stands before it.
    before, after = back, np.empty_like(back)
    window_rows, columns = subject.window
    for rows, strip in _strips(back, subject, light, random_generator(seed)):
        before[rows] = strip.composite(subject.plain[rows])
        after[rows] = before[rows]
        skin = slice(max(rows.start, window_rows.start), min(rows.stop, window_rows.stop))
        if skin.start < skin.stop:
            relit = _relight(subject, light, skin)
            after[skin, columns] = strip.part(skin.start - rows.start, columns, relit).composite(relit)
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


def _relight(subject: Subject, light: Light, rows: slice) -> Image:
    """The retouched person with skin a little lighter on the side of the backdrop's light, a little darker on the other.

    `rows` lie in the subject's window, all columns of which are given.
    """
    window_rows, columns = subject.window
    inside = slice(rows.start - window_rows.start, rows.stop - window_rows.start)
    unit, middle = face_size(subject.face), subject.face.box.centre[0]
    across = (np.arange(columns.start, columns.stop, dtype=np.float32) - middle) / (0.7 * unit)
    # As far as the selfie's own light comes from that side, nothing needs to be added.
    amount = float(np.clip(light.side - 0.7 * subject.light_side, -1, 1))
    gain = MAX_RELIGHT * amount * np.tanh(across)[None, :] * subject.skin[inside]
    colours = cv2.split(subject.retouched[inside])
    # Highlights cannot get lighter: the change fades towards white.
    lightest = cv2.max(cv2.max(colours[0], colours[1]), colours[2])
    room = np.clip((255 - lightest.astype(np.float32)) / 60, 0, 1)
    return to_levels(cv2.merge(colours) * for_channels(np.asarray(1 + gain * room, np.float32), 3))


@dataclass(frozen=True, slots=True, eq=False)
class _Strip:
    """Rows of a portrait: what is the same with and without retouch."""

    back: Floats
    blurred: Floats
    """The backdrop, whose light wraps around the person."""
    wrap: Floats
    """How much of it there is."""
    tint: Floats
    grain: Floats
    alpha: Floats

    def part(self, top: int, columns: slice, image: Image) -> "_Strip":
        """As many rows as `image` has from `top` on, and some columns."""
        rows = slice(top, top + len(image))
        across = (self.back, self.blurred, self.wrap, self.grain, self.alpha)
        back, blurred, wrap, grain, alpha = (each[rows, columns] for each in across)
        return _Strip(back, blurred, wrap, self.tint[rows], grain, alpha)

    def composite(self, front: Image) -> Image:
        """The person `front` before the backdrop."""
        person = np.multiply(front, self.tint, dtype=np.float32)
        light = self.blurred - person
        light *= for_channels(self.wrap, 3)
        person += light
        del light
        person += for_channels(self.grain, 3)
        person -= self.back
        person *= for_channels(self.alpha, 3)
        person += self.back
        return to_levels(person)


def _strips(back: Image, subject: Subject, light: Light, random: np.random.Generator) -> Iterator[tuple[slice, _Strip]]:
    """What lies around the person, strip by strip: backdrop, light wrap, tint and grain."""
    height = len(back)
    blurred = mirrored_blur_strips((back[rows] for rows in strips(height)), back.shape, 0.03 * height)
    covered = (subject.alpha[rows] for rows in strips(height))
    covered = mirrored_blur_strips(covered, back.shape, LIGHT_WRAP_REACH * height)
    extra = math.sqrt(max(min(subject.noise, 4.0) ** 2 - GRAIN**2, 0))
    # Grain for a person whose own was lost in enlarging, so that person and backdrop have the same.
    missing = math.sqrt(max(GRAIN**2 - subject.noise**2, 0))
    # Studio light is aimed at the face; the chest gets less of it.
    fall = 1 - 0.09 * np.clip((np.linspace(0, 1, height, dtype=np.float32) - 0.68) / 0.32, 0, 1) ** 1.5
    tint = (fall[:, None] * np.array(light.colour, np.float32) ** np.float32(0.35)).astype(np.float32)
    for (rows, soft), (_, near) in zip(blurred, covered, strict=True):
        noise, alpha = random.standard_normal(near.shape, np.float32), subject.alpha[rows]
        behind = np.add(back[rows], for_channels(noise * np.float32(extra), 3), dtype=np.float32)
        wrap = alpha * (1 - near) * np.float32(LIGHT_WRAP_SHARE)
        yield rows, _Strip(behind, soft, wrap, tint[rows, None], noise * np.float32(missing), alpha)
