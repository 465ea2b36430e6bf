"""Filters of arrays of pixels: blurs with and without a mask, smoothstep, an estimate of noise."""

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.images.resize import enlarged_strips, shrink_strips

Floats = NDArray[np.float32]
"""H×W or H×W×C."""


def smoothstep(value: Any, low: float, high: float) -> Any:
    """0 below `low`, 1 above `high`, and the cubic 3t² − 2t³ between."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def vector_length(values: NDArray[Any]) -> NDArray[Any]:
    """Length of each pixel's H×W×C vector, to the bit as `numpy.linalg.norm` gives it, in a tenth of its time for few C."""
    total = values[..., 0] * values[..., 0]
    for channel in range(1, values.shape[-1]):
        total += values[..., channel] * values[..., channel]
    return np.sqrt(total)


def for_channels(values: Floats, channels: int) -> Floats:
    """H×W values once for each channel, H×W×C: arithmetic with them takes a fourth of the time of one value for several."""
    return np.asarray(cv2.merge([values] * channels), np.float32).reshape(*values.shape, channels)


def planes(values: Floats) -> list[Floats]:
    """The channels of H×W×C values, H×W each: arithmetic with them takes a fourth of the time of all at once."""
    return [np.asarray(each, np.float32) for each in cv2.split(values)]


def to_levels(values: Floats) -> Image:
    """Values as levels 0..255, rounded; the values themselves are changed."""
    values += np.float32(0.5)
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


def gaussian_blur(values: Floats, sigma: float) -> Floats:
    """Gaussian blur with a sigma in pixels; below a third of a pixel the values themselves."""
    return values if sigma < 0.3 else np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)


def fast_gaussian_blur(values: Floats, sigma: float) -> Floats:
    """Gaussian blur that works on a smaller copy where sigma (pixels) is large, so that the cost does not grow with it."""
    if sigma < 0.3:
        return values
    shrink = max(1.0, sigma / 4)
    height, width = values.shape[:2]
    size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    small = values if shrink == 1 else cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink, borderType=cv2.BORDER_REPLICATE)
    large = small if shrink == 1 else cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.float32)


def mirrored_blur_strips(
    parts: Iterable[NDArray[np.generic]], shape: tuple[int, ...], sigma: float
) -> Iterator[tuple[slice, Floats]]:
    """Gaussian blur on a smaller copy that mirrors the border, where `fast_gaussian_blur` repeats it; strip by strip.

    `parts` are strips of rows of a picture of `shape`, from the top; they are read at once. Studio portraits that were drawn
    before depend on it.
    """
    factor = min(1.0, 4.0 / max(sigma, 1e-3))
    soft = cv2.GaussianBlur(shrink_strips(parts, factor, factor), (0, 0), max(sigma * factor, 0.3))
    return enlarged_strips(np.asarray(soft, np.float32), shape)


def rows_around(part: slice, height: int, reach: int) -> tuple[slice, slice]:
    """The rows of a picture that a filter of `reach` rows reads for some of them, and where those lie among them."""
    top = max(0, part.start - reach)
    return slice(top, min(height, part.stop + reach)), slice(part.start - top, part.stop - top)


def masked_gaussian_blur(values: Floats, mask: Mask, sigma: float) -> Floats:
    """Gaussian blur of H×W×C values that reads only what lies in the mask, so that nothing bleeds in from outside."""
    share = np.asarray(mask, np.float32)
    weight = np.maximum(fast_gaussian_blur(share, sigma), np.float32(1e-3))
    blurred = fast_gaussian_blur(values * for_channels(share, values.shape[2]), sigma)
    return np.asarray(blurred / for_channels(weight, values.shape[2]), np.float32)


def masked_low_pass(values: Floats, mask: Mask, reach: float) -> Floats:
    """Masked mean of H×W×C values over about `reach` pixels; where the mask is empty, of the nearest pixels in it.

    Unlike `masked_gaussian_blur` it fills the pixels outside the mask: blurs of two and four times the width count there.
    """
    shrink = min(1.0, 4 / max(reach, 1e-6))
    size = [max(2, round(side * shrink)) for side in (mask.shape[1], mask.shape[0])]
    mask = mask.astype(np.float32)
    inside = values * for_channels(mask, values.shape[2])
    total = cv2.resize(inside, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    count = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    above, below = np.zeros_like(total), np.full(count.shape, 1e-9, np.float32)
    for wider, weight in ((1, 1.0), (2, 1e-2), (4, 1e-4)):
        sigma = reach * shrink * wider
        above += weight * cv2.GaussianBlur(total, (0, 0), sigma).reshape(total.shape)
        below += weight * cv2.GaussianBlur(count, (0, 0), sigma)
    mean = cv2.resize(above / below[..., None], (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_CUBIC)
    return mean.reshape(values.shape).astype(np.float32)


def noise_level(image: Image) -> float:
    """Standard deviation of a picture's noise in levels of 255, from the median response of a 3×3 Laplacian.

    Immerkær 1996, whose kernel has norm 6; the median instead of his mean is robust against edges.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    response = cv2.filter2D(grey, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32))
    return float(np.median(np.abs(response))) / 0.6745 / 6
