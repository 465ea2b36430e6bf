"""Arithmetic alone: white balance, exposure, noise, sharpness, skin; each step as far as the photo needs it, no model.

Nothing is invented: no network draws pores or lashes that the camera did not see, so the person stays the person.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.faces.skin import retouch_skin, skin_mask
from portrait.images.color import expose, from_lab, to_lab, white_balance
from portrait.images.masks import face_area
from portrait.photos.quality import measure_sharpness
from portrait.types import Face

Floats = NDArray[np.float32]

LEVELS = 4
"""Bands of the wavelet: the coarsest holds waves of about 16 pixels; noise and unsharp edges are finer."""
SPLINE = np.array([1, 4, 6, 4, 1], np.float32) / 16
"""The B3 spline of the à trous wavelet (Starck & Murtagh 1994)."""
FLAT = 0.3
"""Share of the picture taken for flat: noise is read where the finest bands are this quiet."""
TRUST = np.array([1.0, 1.5, 1.5], np.float32)
"""Noise is taken this many times as strong in L, a, b: colour has little detail to lose, the face is in L."""
STRIP = 1024
"""Rows worked on at a time, so that memory does not grow with the photo."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a photo lacks."""

    noise: Floats
    """LEVELS×3: deviation of the noise in each band of L, a, b; 0 where there is none worth taking away."""
    blur: float
    """0 (as sharp as photos are) to 1 (all edges soft)."""
    face: float
    """Width of the face in pixels."""


class Classic:
    """Restores with plain image processing."""

    def restore(self, image: Image, face: Face) -> Image:
        """The same picture, better where it was poor; see `portrait.ports.Restorer`."""
        skin = skin_mask(image, face)
        balanced = white_balance(image, skin)
        lit = expose(balanced, face_area(image, face))
        need = measure(lit, face)
        clear = _clear(lit, need)
        return retouch_skin(clear, face, _retouch(need))


def make(settings: Settings, models: Models, engines: Engines) -> Classic:
    """Nothing to load."""
    return Classic()


def status(settings: Settings, models: Models) -> list[str]:
    """Nothing is ever missing."""
    return []


def measure(image: Image, face: Face) -> Need:
    """Noise and blur of a photo, read on its face."""
    sharp = measure_sharpness(image, face)
    # docs/judging.md: sharp photos read 0.34 to 0.54, a Gaussian of 2 % of the face 0.25.
    blur = float(np.clip((0.42 - sharp) / (0.42 - 0.25), 0, 1))
    # Detail passes for noise, never noise for detail: of the face alone and the face with its surroundings the quieter is
    # believed.
    noise = np.minimum(_noise(_around(image, face, 0)), _noise(_around(image, face, 0.5)))
    return Need(noise, blur, face.box.width)


def _around(image: Image, face: Face, room: float) -> Image:
    """The face with `room` (a share of its width) on all sides; of a large one the middle, which tells as much."""
    height, width = image.shape[:2]
    x, y = face.box.centre
    across, down = (min(side / 2 + room * face.box.width, 256.0) for side in (face.box.width, face.box.height))
    left, right = (int(np.clip(edge, 0, width)) for edge in (x - across, x + across))
    top, bottom = (int(np.clip(edge, 0, height)) for edge in (y - down, y + down))
    return image[top:bottom, left:right]


def _retouch(need: Need) -> float:
    """How much the skin is calmed: poor photos show blotches that the camera made."""
    grain = float(np.clip(need.noise[0, 0] / 4, 0, 1))
    small = float(np.clip((128 - need.face) / 64, 0, 1))
    return 0.4 * max(grain, 0.5 * need.blur, 0.5 * small)


# --- Wavelet bands: noise out, edges up --------------------------------------------------------------------------------


def _bands(lab: Floats, levels: int = LEVELS) -> tuple[list[Floats], Floats]:
    """Split into bands, the finest first, and what is left: à trous, undecimated."""
    bands, rest = [], lab
    for level in range(levels):
        # Zeros between the taps double the reach from level to level.
        kernel = np.zeros(4 * 2**level + 1, np.float32)
        kernel[:: 2**level] = SPLINE
        smooth = cv2.sepFilter2D(rest, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        bands.append(np.asarray(rest - smooth, np.float32))
        rest = np.asarray(smooth, np.float32)
    return bands, rest


GAINS = (0.891, 0.201, 0.086, 0.041)
"""Deviation that white noise of deviation 1 has in each band (Starck & Murtagh 1994)."""


def _noise(image: Image) -> Floats:
    """Deviation of the noise in each band of L, a and b, LEVELS×3; zero where it does not disturb.

    Read in each channel's own quiet places. Compressed photos keep colour at half the resolution, which makes its noise
    coarser: for a and b the second band is measured as well. In L that band is full of the face itself.
    """
    out = np.zeros((LEVELS, 3), np.float32)
    seen = (image.max(axis=2) < 250) & (image.min(axis=2) > 2)
    if min(image.shape[:2]) < 16 or seen.mean() < 0.5:
        return out
    bands, _ = _bands(to_lab(image), 2)
    finest, second = (
        np.array([_quiet(band[..., channel], seen, 2**level) / GAINS[level] for channel in range(3)])
        for level, band in enumerate(bands)
    )
    # A sensor's noise is coloured, wrinkles and hair are not: L is noisy only as far as a and b are too.
    if finest[1:].max() > 0.05:
        finest[0] = min(finest[0], finest[1:].mean())
    coarse = np.clip(second, finest, 2 * finest)
    coarse[0] = finest[0]
    # Detail of a sharp photo still reads as a little noise: below 1 nothing is done, from 2 on all.
    act = np.clip(finest - 1.0, 0, 1)
    out[0] = act * finest * GAINS[0]
    out[1:] = act * coarse * np.array(GAINS[1:])[:, None]
    return out


def _quiet(band: Floats, seen: NDArray[np.bool_], reach: int) -> float:
    """Deviation of a band in the quieter places of what is seen."""
    energy = cv2.blur(band * band, (8 * reach + 1, 8 * reach + 1))
    return float(np.sqrt(np.quantile(energy[seen], FLAT)))


def _clear(image: Image, need: Need) -> Image:
    """Noise out and edges up, in one pass over the bands."""
    lift = _lifts(need)
    if not need.noise.any() and not lift.any():
        return image.copy()
    out = np.empty_like(image)
    room = 4 * 2**LEVELS
    for top in range(0, image.shape[0], STRIP):
        start, end = max(0, top - room), min(image.shape[0], top + STRIP + room)
        strip = _clear_strip(image[start:end], need.noise, lift)
        out[top : top + STRIP] = strip[top - start : top - start + STRIP]
    return out


def _lifts(need: Need) -> Floats:
    """By how much each band of L is raised: those whose waves are about 1 % of the face, where unsharpness takes most."""
    waves = np.log2(2.0 ** np.arange(LEVELS) / max(need.face * 0.01, 0.5))
    # Noise hides the same detail that sharpening seeks: the noisier, the less.
    trust = 1 / (1 + float(need.noise[0, 0]) / 2)
    return np.asarray(1.6 * need.blur * trust * np.exp(-((waves / 1.2) ** 2)), np.float32)


def _clear_strip(image: Image, noise: Floats, lift: Floats) -> Image:
    lab = to_lab(image)
    bands, clean = _bands(lab)
    for level, band in enumerate(bands):
        if noise[level].any():
            # Wiener: what a place has beyond the noise is kept.
            side = 2 ** (level + 1) + 3
            energy = cv2.blur(band * band, (side, side))
            floor = (TRUST * noise[level]) ** 2
            band *= np.maximum(energy - floor, 0) / np.maximum(energy, 1e-6)
        clean += band
    if lift.any():
        light = clean[..., 0]
        sharp = light + sum(lift[level] * bands[level][..., 0] for level in range(LEVELS))
        # Nothing rises above or falls below its neighbours by more than 1.5 L: that is where halos begin.
        near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
        clean[..., 0] = np.clip(sharp, cv2.erode(light, near) - 1.5, cv2.dilate(light, near) + 1.5)
    return from_lab(clean)
