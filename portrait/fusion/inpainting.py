"""Where a face is drawn anew in a picture, and how what was drawn comes back: windows, masks, what a network loses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from portrait.arrays import Image, Mask, Size
from portrait.faces.geometry import Affine
from portrait.fusion.warp import smoothstep
from portrait.types import Box, Face, Region, Regions

ROOM = 3.0
"""Side of the region that is drawn, over the face's larger side: EasyPhoto's."""
PARSED: tuple[Region, ...] = ("skin", "brows", "eyes", "nose", "mouth", "lips")
"""What is drawn anew of a head; hair, ears and glasses stay."""
GROWN = 0.1
"""How far the first drawing reaches beyond those, over the face's width: EasyPhoto's."""
INWARD = 0.1
"""From how far inside the face on what is drawn is taken more and more of the template's own, over its width."""
RING = (-0.15, 0.2)
"""From where to where the second drawing follows the face's border, over its width: on both sides of the first's edge."""
FADE = 0.15
"""How far from its own edges the second drawing comes and goes, over the face's width."""
NEAR = 1.5
"""Gap between two faces, over their mean width, up to which their borders are drawn together."""
FEATURES = 0.08
"""How far the second drawing reaches beyond eyes and mouth, less and less."""


@dataclass(frozen=True, slots=True)
class Window:
    """Part of a picture, in whole pixels of it, that is drawn at a size of its own."""

    left: int
    top: int
    right: int
    bottom: int
    size: Size

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        """Its height and width in the picture."""
        return self.bottom - self.top, self.right - self.left

    def picture_to_drawing(self) -> Affine:
        """The map from the picture to the drawing."""
        across, down = self.size.width / self.shape[1], self.size.height / self.shape[0]
        return np.array(
            [
                [across, 0, (0.5 - self.left) * across - 0.5],
                [0, down, (0.5 - self.top) * down - 0.5],
            ],
            np.float64,
        )

    def picture_to_window(self) -> Affine:
        """The map from the picture to the same pixels counted from the window's corner."""
        return np.array([[1, 0, -self.left], [0, 1, -self.top]], np.float64)

    def resize_for_drawing(self, part: Image) -> Image:
        """Pixels of the window as large as they are drawn."""
        return np.asarray(_resized(part, (self.size.height, self.size.width)), np.uint8)

    def drawing_mask(self, part: Mask) -> Mask:
        """Where the network may draw: every pixel of the drawing that the mask touches, 0 or 1."""
        touched = _resized((part > 0).astype(np.float32), (self.size.height, self.size.width))
        return (touched > 0).astype(np.float32)

    def resize_for_picture(self, values: np.ndarray) -> np.ndarray:
        """What was drawn, H×W×3 0..1, as large as the window is in the picture, 0..255."""
        return np.asarray(_resized(values.astype(np.float32), self.shape), np.float32) * np.float32(255)


def window_around_faces(boxes: Sequence[Box], picture: Size, side: int, step: int) -> Window:
    """The window about some faces, shifted into the picture, drawn with about `side`² pixels in steps of `step`.

    A picture smaller than that is drawn as far as it goes; the shape never leaves 1 : 2.
    """
    left, right = min(box.left for box in boxes), max(box.right for box in boxes)
    top, bottom = min(box.top for box in boxes), max(box.bottom for box in boxes)
    room = (ROOM - 1) / 2 * max(max(box.width, box.height) for box in boxes)
    middle = ((left + right) / 2, (top + bottom) / 2)
    long = max(right - left, bottom - top) + 2 * room
    wide, tall = min(long, picture.width), min(long, picture.height)
    # What is long and thin would be drawn too coarsely across; it gives way where there is picture.
    wide, tall = max(wide, min(tall / 2, picture.width)), max(tall, min(wide / 2, picture.height))
    places = []
    for centre, extent, whole in zip(middle, (wide, tall), (picture.width, picture.height), strict=True):
        extent = min(math.ceil(extent), whole)
        start = int(np.clip(round(centre - extent / 2), 0, whole - extent))
        places.append((start, start + extent))
    size = _native(places[0][1] - places[0][0], places[1][1] - places[1][0], side, step)
    return Window(places[0][0], places[1][0], places[0][1], places[1][1], size)


def _native(wide: int, tall: int, side: int, step: int) -> Size:
    """About `side`² pixels of that shape; neither side beyond 1.34 times `side`, where networks begin to double things."""
    scale = side / math.sqrt(wide * tall)
    longest = side * 1.34
    sides = [max(step, int(min(longest, each * scale) / step + 0.5) * step) for each in (wide, tall)]
    return Size(*(min(each, int(longest // step) * step) for each in sides))


@dataclass(frozen=True, slots=True, eq=False)
class PassAreas:
    """Where each pass takes what was drawn: masks 0..1 that fall to 0 at the edge of what it may draw."""

    face: Mask
    border: Mask
    """Along the edge of the face, on both sides."""
    ring: Mask
    """The border, the eyes and the mouth."""
    skin: Mask
    """Where the tone is read."""
    toned: Mask
    """Where it is matched: the face and less and less around it, but not eyes and mouth, which have a tone of their own."""
    fused: Mask
    """How much of a second fusion is taken where its share is 1: skin, eyes wholly, lips not at all."""


def pass_areas(regions: Regions, face: Face, share: float) -> PassAreas:
    """The areas of a face from its parsed regions; `share` of the second fusion is taken in the skin."""
    width = max(face.box.width, 1.0)
    parsed = np.asarray(sum(regions[name] for name in PARSED if name in regions), np.float32)
    head = _filled(parsed > 0.5)
    far = _beyond(head)
    eyes, lips = _union(regions, "eyes"), _union(regions, "mouth", "lips")
    inner, outer = (edge * width for edge in RING)
    fade = FADE * width
    border = np.minimum(smoothstep(far, inner, inner + fade), 1 - smoothstep(far, outer - fade, outer))
    features = np.maximum(_about(eyes, FEATURES * width), _about(lips, FEATURES * width))
    face_mask = 1 - smoothstep(far, -INWARD * width, GROWN * width)
    skin = _union(regions, "skin", "nose") * face_mask
    fused = share * (1 - smoothstep(far, -INWARD * width, 0))
    fused = np.maximum(fused, _about(eyes, FEATURES * width)) * (1 - _about(lips, FEATURES * width))
    toned = (1 - features) * (1 - smoothstep(far, 0, outer))
    found = (face_mask, border, np.maximum(border, features), skin, toned, fused)
    return PassAreas(*(np.asarray(each, np.float32) for each in found))


def merge_masks(window: Window, parts: Sequence[tuple[Window, Mask]]) -> Mask:
    """Masks of other windows of the same picture in the pixels of this one; where two meet, the larger value counts."""
    canvas = np.zeros(window.shape, np.float32)
    for other, mask in parts:
        left, right = max(window.left, other.left), min(window.right, other.right)
        top, bottom = max(window.top, other.top), min(window.bottom, other.bottom)
        if left < right and top < bottom:
            here = canvas[top - window.top : bottom - window.top, left - window.left : right - window.left]
            there = mask[top - other.top : bottom - other.top, left - other.left : right - other.left]
            np.maximum(here, there, out=here)
    return canvas


def are_adjacent(one: Box, other: Box) -> bool:
    """Whether two faces stand so near each other that one sees both borders at once."""
    gap = max(one.left, other.left) - min(one.right, other.right)
    return gap <= NEAR * (one.width + other.width) / 2


def blend_back(start: Image, drawn: np.ndarray, kept: np.ndarray, share: Mask) -> Image:
    """What was drawn brought back into the picture, each as large as the window: `start` to the bit where `share` is 0.

    `kept` is `start` as the network gives it back when it draws nothing: what it loses there, and what is lost by going
    to another size and back, is no drawing and is taken off towards the edge (FaceChain). `drawn`, `kept`: 0..255.
    """
    part = share[..., None]
    moved = (drawn - start) - (1 - part) * (kept - start)
    mixed = np.clip(start + moved * part + 0.5, 0, 255).astype(np.uint8)
    return np.where(part > 0, mixed, start)


def _filled(inside: np.ndarray) -> np.ndarray:
    """A region without holes: moles, frames of glasses and strands across a face belong to it."""
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    canvas = np.zeros(inside.shape, np.uint8)
    cv2.drawContours(canvas, outlines, -1, 1, cv2.FILLED)
    return canvas > 0


def _beyond(inside: np.ndarray) -> Mask:
    """Pixels from the border of a region: positive outside, negative inside; far away where there is none."""
    if not inside.any():
        return np.full(inside.shape, float(max(inside.shape)), np.float32)
    out = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    # The picture's own border is none of the region's.
    within = np.zeros(inside.shape, np.float32) if inside.all() else _depth(inside)
    return np.asarray(out - within, np.float32)


def _depth(inside: np.ndarray) -> Mask:
    return np.asarray(cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _about(mask: Mask, reach: float) -> Mask:
    """1 in a region, falling to 0 at `reach` pixels beyond it."""
    return np.asarray(1 - smoothstep(_beyond(mask > 0.5), 0, max(reach, 1.0)), np.float32)


def _union(regions: Regions, *names: Region) -> Mask:
    found = [regions[name] for name in names if name in regions]
    return np.clip(np.sum(found, axis=0), 0, 1) if found else np.zeros_like(next(iter(regions.values())))


def _resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Averaged when smaller, cubic when larger."""
    if values.shape[:2] == shape:
        return values
    smaller = shape[0] * shape[1] < values.shape[0] * values.shape[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(values, (shape[1], shape[0]), interpolation=way)
