"""Restorer by image processing alone: white balance, exposure, noise, sharpness and skin, each as far as the photo needs it.

Nothing is invented: no network draws pores or lashes that the camera did not record, so the person stays the person.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Mask
from portrait.faces.skin import retouch_skin, skin_mask
from portrait.images.color import balance_by_skin, expose, from_lab, to_lab, white_balance
from portrait.images.masks import face_mask
from portrait.photos.quality import measure_sharpness
from portrait.types import Face

Floats = NDArray[np.float32]

LEVELS = 4
"""Number of wavelet bands: the coarsest holds waves of about 16 pixels; noise and unsharp edges are finer."""
SPLINE = np.array([1, 4, 6, 4, 1], np.float32) / 16
"""The B3 spline of the à trous wavelet (Starck & Murtagh 1994)."""
FLAT_SHARE = 0.3
"""Share of the picture taken for flat: noise is measured where the finest bands are this quiet."""
NOISE_FACTOR = np.array([1.0, 1.5, 1.5], np.float32)
"""Noise of L, a, b is overestimated by these factors: colour has little detail to lose, the face is in L."""
STRIP_ROWS = 1024
"""Rows worked on at a time, so that memory does not grow with the photo."""


@dataclass(frozen=True, slots=True)
class Defects:
    """How poor a photo is."""

    noise: Floats
    """LEVELS×3: standard deviation of the noise in each band of L, a, b; 0 where there is none worth removing."""
    blur: float
    """0 (as sharp as good photos) to 1 (all edges soft)."""
    face_width: float
    """Pixels."""


class ClassicRestorer:
    """Restores with image processing alone."""

    def restore(self, image: Image, face: Face) -> Image:
        """The same picture, better where it was poor; see `portrait.ports.Restorer`."""
        return _restore(image, face, balance_by_skin)

    def restore_as_before(self, image: Image, face: Face) -> Image:
        """As version 0.1.0 did, which took a coloured wall for coloured light; see `portrait.ports.ChangedRestorer`."""
        return _restore(image, face, white_balance)


def _restore(image: Image, face: Face, balance: Callable[[Image, Mask], Image]) -> Image:
    balanced = balance(image, skin_mask(image, face))
    lit = expose(balanced, face_mask(image, face))
    defects = measure_defects(lit, face)
    clear = _denoise_and_sharpen(lit, defects)
    return retouch_skin(clear, face, _retouch_strength(defects))


def make(settings: Settings, models: ModelStore, engines: Engines) -> ClassicRestorer:
    """The engine; there is nothing to load."""
    return ClassicRestorer()


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Always empty: the engine needs no model files."""
    return []


def measure_defects(image: Image, face: Face) -> Defects:
    """Noise and blur of a photo, measured on its face."""
    sharp = measure_sharpness(image, face)
    # docs/judging.md: sharp photos measure 0.34 to 0.54, a Gaussian of 2 % of the face 0.25.
    blur = float(np.clip((0.42 - sharp) / (0.42 - 0.25), 0, 1))
    # Detail can be taken for noise, but not noise for detail: the lower estimate of the face alone and with its
    # surroundings counts.
    noise = np.minimum(_estimate_noise(_crop_face(image, face, 0)), _estimate_noise(_crop_face(image, face, 0.5)))
    return Defects(noise, blur, face.box.width)


def _crop_face(image: Image, face: Face, room: float) -> Image:
    """The face with `room` (a share of its width) on all sides, at most 512 pixels of it, which are as telling."""
    height, width = image.shape[:2]
    x, y = face.box.centre
    across, down = (min(side / 2 + room * face.box.width, 256.0) for side in (face.box.width, face.box.height))
    left, right = (int(np.clip(edge, 0, width)) for edge in (x - across, x + across))
    top, bottom = (int(np.clip(edge, 0, height)) for edge in (y - down, y + down))
    return image[top:bottom, left:right]


def _retouch_strength(defects: Defects) -> float:
    """Strength of the skin retouch, 0..0.4: poor photos show blotches that the camera made."""
    grain = float(np.clip(defects.noise[0, 0] / 4, 0, 1))
    small = float(np.clip((128 - defects.face_width) / 64, 0, 1))
    return 0.4 * max(grain, 0.5 * defects.blur, 0.5 * small)


# --- Wavelet bands: denoising and sharpening ---------------------------------------------------------------------------


def _decompose(lab: Floats, levels: int = LEVELS) -> tuple[list[Floats], Floats]:
    """Split into wavelet bands, the finest first, and the residual: à trous, undecimated; all as large as `lab`."""
    bands, rest = [], lab
    for level in range(levels):
        # Zeros between the taps double the reach from level to level.
        kernel = np.zeros(4 * 2**level + 1, np.float32)
        kernel[:: 2**level] = SPLINE
        smooth = cv2.sepFilter2D(rest, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        bands.append(np.asarray(rest - smooth, np.float32))
        rest = np.asarray(smooth, np.float32)
    return bands, rest


NOISE_GAINS = (0.891, 0.201, 0.086, 0.041)
"""Standard deviation that white noise of deviation 1 has in each band (Starck & Murtagh 1994)."""


def _estimate_noise(image: Image) -> Floats:
    """Standard deviation of the noise in each band of L, a and b, LEVELS×3; zero where it does not disturb.

    It is measured in each channel's own quiet places. Compressed photos keep colour at half the resolution, which makes its
    noise coarser: for a and b the second band is measured as well. In L that band is full of the face itself.
    """
    out = np.zeros((LEVELS, 3), np.float32)
    unclipped = (image.max(axis=2) < 250) & (image.min(axis=2) > 2)
    if min(image.shape[:2]) < 16 or unclipped.mean() < 0.5:
        return out
    bands, _ = _decompose(to_lab(image), 2)
    finest, second = (
        np.array(
            [_quiet_deviation(band[..., channel], unclipped, 2**level) / NOISE_GAINS[level] for channel in range(3)]
        )
        for level, band in enumerate(bands)
    )
    # A sensor's noise is coloured, wrinkles and hair are not: L is noisy only as far as a and b are too.
    if finest[1:].max() > 0.05:
        finest[0] = min(finest[0], finest[1:].mean())
    coarse = np.clip(second, finest, 2 * finest)
    coarse[0] = finest[0]
    # Detail of a sharp photo still measures as a little noise: below 1 nothing is done, from 2 on all.
    amount = np.clip(finest - 1.0, 0, 1)
    out[0] = amount * finest * NOISE_GAINS[0]
    out[1:] = amount * coarse * np.array(NOISE_GAINS[1:])[:, None]
    return out


def _quiet_deviation(band: Floats, valid: NDArray[np.bool_], reach: int) -> float:
    """Standard deviation of a band in the quieter of its valid places; `reach` is the band's wavelength in pixels."""
    energy = cv2.blur(band * band, (8 * reach + 1, 8 * reach + 1))
    return float(np.sqrt(np.quantile(energy[valid], FLAT_SHARE)))


def _denoise_and_sharpen(image: Image, defects: Defects) -> Image:
    """Denoise and sharpen in one pass over the bands, strip by strip."""
    gains = _sharpening_gains(defects)
    if not defects.noise.any() and not gains.any():
        return image.copy()
    out = np.empty_like(image)
    room = 4 * 2**LEVELS
    for top in range(0, image.shape[0], STRIP_ROWS):
        start, end = max(0, top - room), min(image.shape[0], top + STRIP_ROWS + room)
        strip = _filter_strip(image[start:end], defects.noise, gains)
        out[top : top + STRIP_ROWS] = strip[top - start : top - start + STRIP_ROWS]
    return out


def _sharpening_gains(defects: Defects) -> Floats:
    """By how much each band of L is raised: most where waves are about 1 % of the face, where blur takes most."""
    waves = np.log2(2.0 ** np.arange(LEVELS) / max(defects.face_width * 0.01, 0.5))
    # Noise lies in the same bands as detail: the noisier, the less is sharpened.
    trust = 1 / (1 + float(defects.noise[0, 0]) / 2)
    return np.asarray(1.6 * defects.blur * trust * np.exp(-((waves / 1.2) ** 2)), np.float32)


def _filter_strip(image: Image, noise: Floats, gains: Floats) -> Image:
    lab = to_lab(image)
    bands, clean = _decompose(lab)
    for level, band in enumerate(bands):
        if noise[level].any():
            # A local Wiener filter: each place keeps the share of its energy that exceeds the noise.
            side = 2 ** (level + 1) + 3
            energy = cv2.blur(band * band, (side, side))
            floor = (NOISE_FACTOR * noise[level]) ** 2
            band *= np.maximum(energy - floor, 0) / np.maximum(energy, 1e-6)
        clean += band
    if gains.any():
        light = clean[..., 0]
        sharp = light + sum(gains[level] * bands[level][..., 0] for level in range(LEVELS))
        # No pixel exceeds its neighbours by more than 1.5 L, from which on halos are visible.
        near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
        clean[..., 0] = np.clip(sharp, cv2.erode(light, near) - 1.5, cv2.dilate(light, near) + 1.5)
    return from_lab(clean)
