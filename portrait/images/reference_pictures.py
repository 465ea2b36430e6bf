"""Reference pictures, which editing models draw from: a person's head and shoulders, and pictures of any shape."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from portrait.arrays import Image
from portrait.images.resize import resize
from portrait.types import Box, Reference

LEAST_SIDE, MOST_PIXELS = 64, 1024**2
"""Sides, and pixels in all, between which FLUX.2 takes pictures as they are (`Flux2ImageProcessor`)."""
MOST_ASPECT = 8
"""Longer side over the shorter one, from which on FLUX.2 refuses pictures."""
HEAD_SCALE = 3.0
"""Side of the square over the longer side of a face's box: a face is about a third of head and shoulders across."""
FACE_HEIGHT = 0.42
"""Where the middle of the face lies in the square, from its top: hair above it, shoulders below."""


def crop_heads(references: Sequence[Reference], same_size: bool = False) -> list[Image]:
    """Head and shoulders of each photo, as squares of `LEAST_SIDE` to 1024 pixels; `same_size`: all as large as the largest."""
    crops = [_crop_head(each.image, each.face.box) for each in references]
    sides = [min(max(crop.shape[0], LEAST_SIDE), math.isqrt(MOST_PIXELS)) for crop in crops]
    sides = [max(sides)] * len(sides) if same_size else sides
    return [resize(crop, (side, side), cv2.INTER_CUBIC) for crop, side in zip(crops, sides, strict=True)]


def _crop_head(image: Image, face: Box) -> Image:
    """The square around head and shoulders, moved or made smaller until it lies in the photo."""
    height, width = image.shape[:2]
    side = min(height, width, max(1, round(HEAD_SCALE * max(face.width, face.height))))
    middle = face.centre
    left = min(max(round(middle[0] - side / 2), 0), width - side)
    top = min(max(round(middle[1] - side * FACE_HEIGHT), 0), height - side)
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def fit_picture(image: Image, square: bool = False) -> Image:
    """A whole picture at a size that is taken as it is; `square`, or where it is too long: on white, as shops show goods."""
    height, width = image.shape[:2]
    longest = max(height, width)
    if square and height != width:
        image = _on_white(image, longest, longest)
    elif longest > MOST_ASPECT * min(height, width):
        least = math.ceil(longest / MOST_ASPECT)
        image = _on_white(image, max(height, least), max(width, least))
    height, width = image.shape[:2]
    factor = min(max(1.0, LEAST_SIDE / min(height, width)), math.sqrt(MOST_PIXELS / (height * width)))
    tall, wide = (max(LEAST_SIDE, int(side * factor)) for side in (height, width))
    return resize(image, (tall, wide), cv2.INTER_CUBIC)


def _on_white(image: Image, height: int, width: int) -> Image:
    """A picture in the middle of a white one."""
    out = np.full((height, width, 3), 255, np.uint8)
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    out[top : top + image.shape[0], left : left + image.shape[1]] = image
    return out
