"""Arithmetic alone: white balance, exposure, noise, sharpness, skin; each step as far as the photo needs it, no model.

Nothing is invented: no network draws pores or lashes that the camera did not see, so the person stays the person.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.models import Models
from pipelines.settings import Settings
from portrait.color import expose, from_lab, retouch_skin, skin_mask, to_lab, white_balance
from portrait.quality import measure_sharpness
from portrait.types import Face, Image, Mask

Floats = NDArray[np.float32]

LEVELS = 4
"""Bands of the wavelet: the coarsest holds waves of about 16 pixels; noise and unsharp edges are finer."""
SPLINE = np.array([1, 4, 6, 4, 1], np.float32) / 16
"""The B3 spline of the à trous wavelet (Starck & Murtagh 1994)."""
FLAT = 0.3
"""Share of the picture taken for flat: noise is read where the finest bands are this quiet."""
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
        lit = expose(balanced, _face_area(image, face))
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
    """Noise and blur of a photo, read on and around its face."""
    sharp = measure_sharpness(image, face)
    # docs/judging.md: sharp photos read 0.34 to 0.54, a Gaussian of 2 % of the face 0.25.
    blur = float(np.clip((0.42 - sharp) / (0.42 - 0.25), 0, 1))
    return Need(_noise(_around(image, face)), blur, face.box.width)
