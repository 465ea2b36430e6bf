"""Aspect-ratio buckets: sorts training pictures into resolutions of like shape, and orders them into batches."""

from collections import Counter
from collections.abc import Sequence

from portrait.arrays import Size, random_generator

STEP = 64
"""Sides are multiples of 64, which the VAE and the U-Net of SD 1.5 and SDXL halve without remainder."""
LARGEST = 1024
"""Largest long side: SDXL's native size."""
SMALLEST = 512
"""Smallest long side: SD 1.5's native size; smaller crops are enlarged to it."""


def long_side(sizes: Sequence[Size]) -> int:
    """The long side for a set of crops: the largest of 512, 768, 1024 that half of them reach without enlargement."""
    longest = sorted((max(size.width, size.height) for size in sizes), reverse=True)
    median = longest[(len(longest) - 1) // 2] if longest else SMALLEST
    return max((side for side in (SMALLEST, 768, LARGEST) if side <= median), default=SMALLEST)


def nearest_bucket(width: float, height: float, side: int, step: int = STEP) -> Size:
    """The bucket of long side `side` whose aspect ratio is nearest to width : height; at most 2 : 1 either way.

    Sides are multiples of `step`, and `side` must be one.
    """
    short = [count * step for count in range(max(1, side // (2 * step)), side // step + 1)]
    buckets = [Size(side, each) for each in short] + [Size(each, side) for each in short]
    return min(
        buckets,
        key=lambda size: (
            abs(_symmetric_ratio(size.width / size.height) - _symmetric_ratio(width / height)),
            size.width,
        ),
    )


def assign_buckets(shapes: Sequence[Size], side: int, step: int, batch: int) -> list[Size]:
    """The bucket of each picture; pictures whose bucket has fewer than `batch` share the square one of `side`."""
    own = [nearest_bucket(shape.width, shape.height, side, step) for shape in shapes]
    counts = Counter(own)
    return [size if counts[size] >= batch else Size(side, side) for size in own]


def epoch_batches(buckets: Sequence[Size], batch: int, seed: int, number: int) -> list[list[int]]:
    """Batches of epoch `number`, shuffled, as indices into `buckets`; all pictures of a batch are of one bucket.

    Where the last batch of a bucket is not full, its first pictures are repeated. The order depends on `seed` and `number`
    alone, so that an interrupted run can be resumed.
    """
    random = random_generator((seed, number))
    batches: list[list[int]] = []
    for size in sorted(set(buckets), key=lambda each: (each.width, each.height)):
        members = [index for index, each in enumerate(buckets) if each == size]
        order = [members[at] for at in random.permutation(len(members))]
        order += [order[at % len(order)] for at in range(-len(order) % batch)]
        batches += [order[at : at + batch] for at in range(0, len(order), batch)]
    return [batches[at] for at in random.permutation(len(batches))]


def _symmetric_ratio(ratio: float) -> float:
    # Symmetric in portrait and landscape, which the plain ratio is not.
    return ratio if ratio >= 1 else 2 - 1 / ratio
