"""Input of CLIP's vision encoder: a head cropped from a photo, 224 pixels square, normalised as CLIP was trained."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import CLIPImageProcessorPil

from portrait.arrays import Image
from portrait.types import Reference

HEAD_SCALE = 2.0
"""Side of the square around a face, over the longer side of its box: hair and chin, and little of the room."""


def preprocess(images: Sequence[Image]) -> torch.Tensor:
    """Images to N×3×224×224: short side to 224, centre crop, CLIP's mean and deviation."""
    return CLIPImageProcessorPil()(images=list(images), return_tensors="pt").pixel_values


def crop_head(reference: Reference) -> Image:
    """The part of a reference photo around its face: PhotoMaker crops nothing, and asks for photos that a face mostly fills."""
    (height, width), box = reference.image.shape[:2], reference.face.box
    half = HEAD_SCALE * max(box.width, box.height) / 2
    middle = box.centre
    left, top = max(0, round(middle[0] - half)), max(0, round(middle[1] - half))
    right, bottom = min(width, round(middle[0] + half)), min(height, round(middle[1] + half))
    return np.ascontiguousarray(reference.image[top:bottom, left:right])
