"""Sets a person before a backdrop: light wrap, tint and grain make both one picture."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Size, random_generator
from portrait.images.filters import mirrored_blur_strips
from portrait.images.masks import face_size
from portrait.images.resize import strips
from portrait.studio import backdrops, picture_backdrop
from portrait.studio.backdrops import BackdropPicture, Light
from portrait.studio.lens import GRAIN
from portrait.studio.subject import Subject
from portrait.studio.warping import visible_columns

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
    window_rows, window_columns = subject.window
    for rows, strip in _strips(back, subject, light, random_generator(seed)):
        before[rows, strip.columns] = strip.composite(subject.plain[rows, strip.columns], rows, strip.columns)
        after[rows] = before[rows]
        skin, columns = _overlap(rows, window_rows), _overlap(strip.columns, window_columns)
        if skin.start < skin.stop and columns.start < columns.stop:
            relit = _relight(subject, light, skin, columns)
            after[skin, columns] = strip.composite(relit, skin, columns)
    return after, before


def _overlap(one: slice, other: slice) -> slice:
    """The part that two ranges share; empty where they do not overlap."""
    start = max(one.start, other.start)
    return slice(start, max(start, min(one.stop, other.stop)))


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


def _relight(subject: Subject, light: Light, rows: slice, columns: slice) -> Image:
    """The retouched person with skin a little lighter on the side of the backdrop's light, a little darker on the other.

    `rows` and `columns` lie in the subject's window.
    """
    inside = tuple(
        slice(part.start - window.start, part.stop - window.start)
        for part, window in zip((rows, columns), subject.window, strict=True)
    )
    unit, middle = face_size(subject.face), subject.face.box.centre[0]
    across = (np.arange(columns.start, columns.stop, dtype=np.float32) - middle) / (0.7 * unit)
    # As far as the selfie's own light comes from that side, nothing needs to be added.
    amount = float(np.clip(light.side - 0.7 * subject.light_side, -1, 1))
    gain = MAX_RELIGHT * amount * np.tanh(across)[None, :] * subject.skin[inside]
    colours = cv2.split(subject.retouched[inside])
    # Highlights cannot get lighter: the change fades towards white.
    lightest = cv2.max(cv2.max(colours[0], colours[1]), colours[2])
    factor = 1 + gain * np.minimum((255 - lightest) * np.float32(1 / 60), 1)
    return np.asarray(cv2.merge([cv2.multiply(each, factor, dtype=cv2.CV_8U) for each in colours]), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Strip:
    """Rows of a portrait and the columns where the person is: what is the same with and without retouch.

    The colours are apart from each other: arithmetic on three numbers at a time takes four times as long.
    """

    rows: slice
    columns: slice
    around: tuple[Floats, ...]
    """By colour: the backdrop as far as it shows, its light that wraps around the person, and grain."""
    shares: tuple[Floats, ...]
    """By colour: how much of the person's levels shows."""

    def composite(self, front: Image, rows: slice, columns: slice) -> Image:
        """The person `front`, of some rows and columns of these, before the backdrop."""
        part = (
            slice(rows.start - self.rows.start, rows.stop - self.rows.start),
            slice(columns.start - self.columns.start, columns.stop - self.columns.start),
        )
        mixed = [
            cv2.add(cv2.multiply(level, share[part], dtype=cv2.CV_32F), around[part], dtype=cv2.CV_8U)
            for level, share, around in zip(cv2.split(front), self.shares, self.around, strict=True)
        ]
        return np.asarray(cv2.merge(mixed), np.uint8).reshape(front.shape)


def _strips(back: Image, subject: Subject, light: Light, random: np.random.Generator) -> Iterator[tuple[slice, _Strip]]:
    """What lies around the person, strip by strip: backdrop, light wrap, tint and grain; the backdrop gets its grain there."""
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
        noise = random.standard_normal(near.shape, np.float32)
        columns = visible_columns(subject.alpha[rows])
        columns = columns if columns.start < columns.stop else slice(0, 1)
        alpha, plain = subject.alpha[rows, columns], back[rows, columns]
        wrap = alpha * (1 - near[:, columns]) * np.float32(LIGHT_WRAP_SHARE)
        through, wrapped = 1 - alpha, alpha * wrap
        grain = noise[:, columns] * (np.float32(extra) * through + np.float32(missing) * alpha)
        around = tuple(
            cv2.multiply(level, through, dtype=cv2.CV_32F) + light * wrapped + grain
            for level, light in zip(cv2.split(plain), cv2.split(soft[:, columns]), strict=True)
        )
        share = alpha - wrapped
        if extra:
            cv2.add(back[rows], cv2.merge([noise * np.float32(extra)] * 3), dst=back[rows], dtype=cv2.CV_8U)
        tints = tuple(share * tint[rows, each, None] for each in range(3))
        yield rows, _Strip(rows, columns, cast("tuple[Floats, ...]", around), cast("tuple[Floats, ...]", tints))
