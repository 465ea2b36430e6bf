"""Whether one sees where two pictures were joined: steps across the border of a mask, against steps beside it."""

import cv2
import numpy as np

from portrait.arrays import Image, Mask
from portrait.images.color import Floats, to_lab

VISIBLE = 1.2
"""Steps across a border that are this many times those beside it begin to show as a line."""
LEVELS = (0.1, 0.5, 0.9)
"""A soft mask has a border wherever its blend begins, is half done, and ends."""
NEAR = 1.0
"""A border's own steps: within this many pixels of it."""
BESIDE = (3.0, 10.0)
"""Steps beside a border: this far from it, on both sides."""
FLOOR = 0.25
"""ΔE a pixel that even a flat picture is taken to have: rounding to 8 bits makes 0.1 to 0.3."""


def delta_e(one: Image, two: Image) -> Floats:
    """Colour difference of two images, H×W: CIE76, the distance in CIELAB; 2.3 is just noticeable."""
    return np.asarray(np.linalg.norm(to_lab(one) - to_lab(two), axis=2), np.float32)


def seam(image: Image, mask: Mask) -> float:
    """How much steeper colours change across the border of `mask` than beside it: about 1 where nothing shows.

    Only change along the border's normal counts, in ΔE a pixel. The worst of `LEVELS` is told; 0 when the mask has no
    border inside the picture. A drawn edge that runs along the border counts too: measure what was drawn over something
    with edges of its own by `seam(drawn) / seam(before)`.
    """
    lab = to_lab(image)
    return max(_level(lab, mask, level) for level in LEVELS)


def _level(lab: Floats, mask: Mask, level: float) -> float:
    inside = mask > level
    if inside.all() or not inside.any():
        return 0.0
    far = _signed(inside)
    steps = _across(lab, far)
    # The picture's own border has no step: differences there are one-sided.
    for edge in (steps[:1], steps[-1:], steps[:, :1], steps[:, -1:]):
        edge[...] = np.nan
    here = steps[np.abs(far) <= NEAR]
    there = steps[(np.abs(far) >= BESIDE[0]) & (np.abs(far) <= BESIDE[1])]
    if np.isnan(here).all() or np.isnan(there).all():
        return 0.0
    return float(np.nanmean(here) / max(float(np.nanmean(there)), FLOOR))


def _signed(inside: np.ndarray) -> Floats:
    """Distance to the border in pixels, negative inside; ±0.5 beside it."""
    out = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    within = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(np.where(inside, 0.5 - within, out - 0.5), np.float32)


def _across(lab: Floats, far: Floats) -> Floats:
    """ΔE a pixel along the border's normal, H×W."""
    smooth = cv2.GaussianBlur(far, (0, 0), 1.5)
    down, right = np.gradient(smooth)
    length = np.maximum(np.hypot(down, right), 1e-6)
    down, right = (down / length)[..., None], (right / length)[..., None]
    steps = np.gradient(lab, axis=0) * down + np.gradient(lab, axis=1) * right
    return np.asarray(np.linalg.norm(steps, axis=2), np.float32)
