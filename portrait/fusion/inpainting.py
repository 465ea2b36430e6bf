"""Inpainting faces in a picture: the windows to draw, the masks of each pass, and blending the result back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from portrait.arrays import Image, Mask, Region, Regions, Size
from portrait.faces.geometry import Affine
from portrait.generation.parameters import native_size
from portrait.images.filters import smoothstep
from portrait.images.resize import resize
from portrait.types import Box, Face

ROOM = 3.0
"""Side of the window over the face's larger side: EasyPhoto's."""
PARSED: tuple[Region, ...] = ("skin", "brows", "eyes", "nose", "mouth", "lips")
"""Regions that are drawn anew; hair, ears and glasses stay."""
GROWN = 0.1
"""How far the first pass reaches beyond those, over the face's width: EasyPhoto's."""
INWARD = 0.1
"""Width of the band inside the face's edge in which the drawing fades into the template, over the face's width."""
BOUNDARY = (-0.15, 0.2)
"""Inner and outer limit of the boundary pass, as distances from the face's border over its width."""
FADE = 0.15
"""Width over which the boundary pass fades in and out, over the face's width."""
NEAR = 1.5
"""Gap between two faces, over their mean width, up to which a seam pass draws their borders together."""
FEATURES = 0.08
"""Distance, over the face's width, at which the boundary pass has faded out beyond eyes and mouth."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of a picture, in whole pixels, that is drawn at a size of its own."""

    left: int
    top: int
    right: int
    bottom: int
    size: Size

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns in the picture."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        """Its height and width in the picture."""
        return self.bottom - self.top, self.right - self.left

    def picture_to_drawing(self) -> Affine:
        """The map from pixels of the picture to pixels of the drawing."""
        across, down = self.size.width / self.shape[1], self.size.height / self.shape[0]
        return np.array(
            [
                [across, 0, (0.5 - self.left) * across - 0.5],
                [0, down, (0.5 - self.top) * down - 0.5],
            ],
            np.float64,
        )

    def picture_to_window(self) -> Affine:
        """The map from pixels of the picture to pixels of the window, at the same scale."""
        return np.array([[1, 0, -self.left], [0, 1, -self.top]], np.float64)

    def resize_for_drawing(self, part: Image) -> Image:
        """The picture's pixels in the window, resized to the size of the drawing."""
        return np.asarray(resize(part, (self.size.height, self.size.width), cv2.INTER_CUBIC), np.uint8)

    def drawing_mask(self, part: Mask) -> Mask:
        """Inpainting mask of the drawing: 1 for every pixel that the window's mask `part` touches, else 0."""
        touched = resize((part > 0).astype(np.float32), (self.size.height, self.size.width), cv2.INTER_CUBIC)
        return (touched > 0).astype(np.float32)

    def resize_for_picture(self, values: np.ndarray) -> np.ndarray:
        """A drawing (H×W×3, 0..1) resized to the window in the picture, 0..255."""
        return np.asarray(resize(values.astype(np.float32), self.shape, cv2.INTER_CUBIC), np.float32) * np.float32(255)


def window_around_faces(boxes: Sequence[Box], picture: Size, side: int, step: int) -> Window:
    """The window around some faces, inside the picture, to be drawn with about `side`² pixels and sides in steps of `step`.

    A smaller picture limits the window; its aspect ratio stays within 1 : 2 where the picture allows it.
    """
    left, right = min(box.left for box in boxes), max(box.right for box in boxes)
    top, bottom = min(box.top for box in boxes), max(box.bottom for box in boxes)
    room = (ROOM - 1) / 2 * max(max(box.width, box.height) for box in boxes)
    middle = ((left + right) / 2, (top + bottom) / 2)
    long = max(right - left, bottom - top) + 2 * room
    wide, tall = min(long, picture.width), min(long, picture.height)
    # A long and thin window would be drawn too coarsely across; it widens where there is picture.
    wide, tall = max(wide, min(tall / 2, picture.width)), max(tall, min(wide / 2, picture.height))
    spans = []
    for centre, extent, limit in zip(middle, (wide, tall), (picture.width, picture.height), strict=True):
        extent = min(math.ceil(extent), limit)
        start = int(np.clip(round(centre - extent / 2), 0, limit - extent))
        spans.append((start, start + extent))
    shape = Size(spans[0][1] - spans[0][0], spans[1][1] - spans[1][0])
    size = native_size(shape, side, step, lambda number: int(number + 0.5))
    return Window(spans[0][0], spans[1][0], spans[0][1], spans[1][1], size)


@dataclass(frozen=True, slots=True, eq=False)
class PassAreas:
    """Alpha masks (0..1) of what each pass draws around one face; they fall to 0 at the edge of what it may draw."""

    face: Mask
    """The first pass."""
    border: Mask
    """Along the edge of the face, on both sides: the seam pass."""
    boundary: Mask
    """The border, the eyes and the mouth: the boundary pass."""
    skin: Mask
    """Where the tone is measured."""
    toned: Mask
    """Where the tone is matched: the face and, fading, around it, but not eyes and mouth, whose tone differs."""
    fused: Mask
    """Alpha of a second fusion: its share in skin, 1 on the eyes, 0 on the lips."""


def pass_areas(regions: Regions, face: Face, share: float) -> PassAreas:
    """The masks of a face from its parsed regions; `share` is that of the second fusion in the skin."""
    width = max(face.box.width, 1.0)
    parsed = np.asarray(sum(regions[name] for name in PARSED if name in regions), np.float32)
    head = _fill_holes(parsed > 0.5)
    far = _signed_distance(head)
    eyes, lips = _union(regions, "eyes"), _union(regions, "mouth", "lips")
    inner, outer = (edge * width for edge in BOUNDARY)
    fade = FADE * width
    border = np.minimum(smoothstep(far, inner, inner + fade), 1 - smoothstep(far, outer - fade, outer))
    features = np.maximum(_fade_around(eyes, FEATURES * width), _fade_around(lips, FEATURES * width))
    face_mask = 1 - smoothstep(far, -INWARD * width, GROWN * width)
    skin = _union(regions, "skin", "nose") * face_mask
    fused = share * (1 - smoothstep(far, -INWARD * width, 0))
    fused = np.maximum(fused, _fade_around(eyes, FEATURES * width)) * (1 - _fade_around(lips, FEATURES * width))
    toned = (1 - features) * (1 - smoothstep(far, 0, outer))
    found = (face_mask, border, np.maximum(border, features), skin, toned, fused)
    return PassAreas(*(np.asarray(each, np.float32) for each in found))


def merge_masks(window: Window, parts: Sequence[tuple[Window, Mask]]) -> Mask:
    """Union (maximum) of masks of other windows of the same picture, in the pixels of `window`."""
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
    """Whether two faces stand so near each other that a seam pass draws their borders together."""
    gap = max(one.left, other.left) - min(one.right, other.right)
    return gap <= NEAR * (one.width + other.width) / 2


def blend_back(start: Image, generated: np.ndarray, round_trip: np.ndarray, share: Mask) -> Image:
    """Blend a drawing into `start` by the alpha mask `share`; `start` to the bit where it is 0.

    `round_trip` is `start` after resizing and the VAE without drawing (strength 0): what is lost by those alone is
    subtracted towards the edge (FaceChain). All are as large as the window; `generated` and `round_trip` are 0..255.
    """
    part = share[..., None]
    moved = (generated - start) - (1 - part) * (round_trip - start)
    mixed = np.clip(start + moved * part + 0.5, 0, 255).astype(np.uint8)
    return np.where(part > 0, mixed, start)


def _fill_holes(inside: np.ndarray) -> np.ndarray:
    """The region with its holes filled: moles, frames of glasses and strands across a face belong to it."""
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    canvas = np.zeros(inside.shape, np.uint8)
    cv2.drawContours(canvas, outlines, -1, 1, cv2.FILLED)
    return canvas > 0


def _signed_distance(inside: np.ndarray) -> Mask:
    """Signed distance in pixels to the border of a region: positive outside, negative inside; large where it is empty."""
    if not inside.any():
        return np.full(inside.shape, float(max(inside.shape)), np.float32)
    out = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    # The picture's own border is none of the region's.
    within = np.zeros(inside.shape, np.float32) if inside.all() else _distance_inside(inside)
    return np.asarray(out - within, np.float32)


def _distance_inside(inside: np.ndarray) -> Mask:
    return np.asarray(cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _fade_around(mask: Mask, reach: float) -> Mask:
    """1 in a region, falling smoothly to 0 at `reach` pixels outside."""
    return np.asarray(1 - smoothstep(_signed_distance(mask > 0.5), 0, max(reach, 1.0)), np.float32)


def _union(regions: Regions, *names: Region) -> Mask:
    found = [regions[name] for name in names if name in regions]
    return np.clip(np.sum(found, axis=0), 0, 1) if found else np.zeros_like(next(iter(regions.values())))
