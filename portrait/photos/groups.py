"""One person in a photo of several: which face a point means, and how much of the photo shows them and no other face."""

from collections.abc import Sequence
from dataclasses import dataclass

from portrait.arrays import Size
from portrait.types import Box

WHOLE = Box(0.0, 0.0, 1.0, 1.0)
"""All of a photo, in shares of its width and height."""
FACE_ROOM = 0.1
"""What is left out around another face, as a share of its width and height."""
_ABOVE, _BESIDE, _BELOW = 0.5, 0.6, 1.2
"""What of a person is kept first, in widths and heights of the face: the hair and the shoulders."""


@dataclass(frozen=True, slots=True)
class Turned:
    """A photo that was turned counter-clockwise by quarters to stand upright; all places are shares of width and height."""

    turns: int

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the stored photo lies in the upright one."""
        for _ in range(self.turns % 4):
            x, y = y, 1 - x
        return x, y

    def stored_point(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the upright photo lies in the stored one."""
        for _ in range(self.turns % 4):
            x, y = 1 - y, x
        return x, y

    def stored(self, box: Box) -> Box:
        """Where a box of the upright photo lies in the stored one."""
        for _ in range(self.turns % 4):
            box = Box(1 - box.bottom, box.left, 1 - box.top, box.right)
        return box


def shares_of(box: Box, size: Size) -> Box:
    """A box in pixels as shares of a photo's width and height, as far as it lies in the photo."""
    left, right = (min(1.0, max(0.0, edge / size.width)) for edge in (box.left, box.right))
    top, bottom = (min(1.0, max(0.0, edge / size.height)) for edge in (box.top, box.bottom))
    return Box(left, top, right, bottom)


def nearest(boxes: Sequence[Box], x: float, y: float) -> int:
    """Index of the box that a point means: the one whose middle is nearest, in the box's own widths and heights."""

    def away(index: int) -> float:
        box = boxes[index]
        across = (x - box.centre[0]) / max(box.width, 1e-6)
        down = (y - box.centre[1]) / max(box.height, 1e-6)
        return across**2 + down**2

    return min(range(len(boxes)), key=away)


def window_without(own: Box, others: Sequence[Box], size: Size) -> Box:
    """The part of a photo that shows one face, with as much of the person as may be, and none of the others; in pixels.

    Each other face is cut away on one of four sides: there where most of the person's hair and shoulders stays, and then most
    of the photo. A face that overlaps the own one is cut in the middle between both.
    """
    window = Box(0, 0, size.width, size.height)
    person = Box(
        own.left - _BESIDE * own.width,
        own.top - _ABOVE * own.height,
        own.right + _BESIDE * own.width,
        own.bottom + _BELOW * own.height,
    )
    for other in sorted(others, key=lambda each: -each.area):
        cut = _grown(other)
        if _overlap(window, cut) > 0:
            window = max(_sides(window, own, cut), key=lambda each: (_overlap(each, person), each.area))
    return window


def _sides(window: Box, own: Box, other: Box) -> list[Box]:
    """The window cut on each side on which the other face lies; in the middle of both where they overlap on all."""
    left, top, right, bottom = window.left, window.top, window.right, window.bottom
    cuts = [
        (own.left - other.right, Box(max(left, other.right), top, right, bottom)),
        (other.left - own.right, Box(left, top, min(right, other.left), bottom)),
        (own.top - other.bottom, Box(left, max(top, other.bottom), right, bottom)),
        (other.top - own.bottom, Box(left, top, right, min(bottom, other.top))),
    ]
    apart = [box for gap, box in cuts if gap >= 0]
    if apart:
        return apart
    (x, y), (far_x, far_y) = own.centre, other.centre
    if abs(far_x - x) >= abs(far_y - y):
        middle = (x + far_x) / 2
        return [Box(left, top, min(right, middle), bottom) if far_x > x else Box(max(left, middle), top, right, bottom)]
    middle = (y + far_y) / 2
    return [Box(left, top, right, min(bottom, middle)) if far_y > y else Box(left, max(top, middle), right, bottom)]


def _grown(box: Box) -> Box:
    across, down = FACE_ROOM * box.width, FACE_ROOM * box.height
    return Box(box.left - across, box.top - down, box.right + across, box.bottom + down)


def _overlap(one: Box, other: Box) -> float:
    """Area that two boxes share."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    return max(0.0, width) * max(0.0, height)
