"""The levelled crop of a face, as ArcFace and the adapters that were trained on InsightFace's crops read it."""

import cv2
import numpy as np
from insightface.utils.face_align import arcface_dst
from skimage.transform import SimilarityTransform

from portrait.arrays import Image, Points

SIDE = 112
"""Side of the crop that ArcFace reads, pixels; its five points are given for it."""
ARCFACE_128 = arcface_dst + np.array([8.0, 0.0], np.float32)
"""The same five points on 128 pixels, as InsightFace places them for squares of that side: not larger, eight further right."""


def align_for_arcface(image: Image, landmarks: Points, side: int = SIDE) -> Image | None:
    """`side` pixels square with the five landmarks where ArcFace was trained on them; None when they lie in one point.

    The same pixels as InsightFace's `norm_crop`, which calls a deprecated method of scikit-image. `side` is a multiple of 112.
    """
    # `portrait.faces.alignment.estimate_similarity` differs in the seventh digit, which changes single pixels.
    transform = SimilarityTransform.from_estimate(landmarks, arcface_dst * (side / SIDE))
    if not transform:
        return None
    chip = cv2.warpAffine(image, np.asarray(transform.params)[:2], (side, side), borderValue=0.0)
    return np.asarray(chip, np.uint8)
