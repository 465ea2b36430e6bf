"""Sorts training crops into resolutions of like shape."""

from collections.abc import Sequence

from portrait.types import Size

STEP = 64
"""Sides are multiples of 64: what the VAE and the U-Net of SD 1.5 and SDXL halve without a rest."""
LARGEST = 1024
"""Long side at most: SDXL's native size."""
SMALLEST = 512
"""Long side at least: SD 1.5's native size; smaller crops are enlarged to it."""


def long_side(sizes: Sequence[Size]) -> int:
    """One long side for a set: the largest of 512, 768, 1024 that half of the crops reach without being enlarged."""
    longest = sorted((max(size.width, size.height) for size in sizes), reverse=True)
    median = longest[(len(longest) - 1) // 2] if longest else SMALLEST
    return max((side for side in (SMALLEST, 768, LARGEST) if side <= median), default=SMALLEST)


def nearest(width: float, height: float, side: int) -> Size:
    """The bucket of long side `side` whose shape is nearest to width : height; at most 2 : 1 either way."""
    short = [step * STEP for step in range(side // (2 * STEP), side // STEP + 1)]
    buckets = [Size(side, each) for each in short] + [Size(each, side) for each in short]
    return min(buckets, key=lambda size: (abs(_log(size.width / size.height) - _log(width / height)), size.width))


def _log(ratio: float) -> float:
    # Symmetric in portrait and landscape, which the plain ratio is not.
    return ratio if ratio >= 1 else 2 - 1 / ratio
