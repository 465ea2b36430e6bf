"""Mattes by MODNet (Ke and others 2022) and closed-form matting: the default; Apache-2.0 and MIT.

MODNet finds whole people in busy rooms where the segmenter takes things beside the head for part of it, and leaves a veil
around hair, which closed-form matting solves.
"""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.engines.runtimes.matting import NetworkMatting
from pipelines.engines.runtimes.onnx import OnnxNetwork, to_nchw
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Mask
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.images.masks import face_size
from portrait.images.resize import scaled_size
from portrait.types import Face

__all__ = ["make", "status"]

MODEL = "modnet"
VERSION = "modnet 2"
"""As recipes hold it: another number when a change here draws other pixels."""
FACE_SIZE = 128
"""Face size in pixels at which the network reads people best; fewest gross errors on the tests' composites at 120 to 140."""
SHORTER_SIDE = 512
"""Pixels that the window's shorter side may have there: it was trained on 512, and on larger ones it loses some people."""
STEP = 32
"""Sides of its input are multiples of this."""
CLOSE = 2.5
"""Height or width of a window in face sizes below which the photo shows too little of a person for the network: it loses
hair, or the whole head. Such a window is set into a larger picture, whose rest repeats or mirrors the window's border: what it
loses in the one it finds in the other, and in neither has it taken the room for the person."""


CLOSE_ASIDE, CLOSE_ABOVE, CLOSE_BELOW = 1.4, 1.2, 1.8
"""Reach of that larger picture from the face's centre, in face sizes: more took longer and found no more."""


class ModNet:
    """The network: the matte of all people in a picture."""

    def __init__(self, network: Callable[[], OnnxNetwork]) -> None:
        """`network` is asked for with the first matte: silhouettes, which most photos need alone, do without its 80 MB."""
        self._open = network

    def __call__(self, image: Image, face: Face) -> Mask:
        """The matte 0..1 of the people in a window, at any size; raises `EngineError` (`broken_model`)."""
        unit = face_size(face)
        if min(image.shape[:2]) > CLOSE * unit:
            return self._run(image, min(FACE_SIZE / unit, SHORTER_SIDE / min(image.shape[:2])))
        factor = FACE_SIZE / unit
        size = scaled_size(image.shape, factor)
        interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        small = np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)
        near = transform_face(face, scaling_matrix(factor))
        return np.maximum(
            *(self._run_within(small, near, each) for each in (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101))
        )

    def _run_within(self, image: Image, face: Face, border: int) -> Mask:
        """The matte of a close picture, run within a larger one that goes on by OpenCV's mode `border`."""
        (x, y), unit, (height, width) = face.box.centre, face_size(face), image.shape[:2]
        left, top = (max(0, round(reach * unit - place)) for reach, place in ((CLOSE_ASIDE, x), (CLOSE_ABOVE, y)))
        right = max(0, round(x + CLOSE_ASIDE * unit) - width)
        bottom = max(0, round(y + CLOSE_BELOW * unit) - height)
        # Whole steps, so that the network's pixels are those of the picture.
        right += -(left + width + right) % STEP
        bottom += -(top + height + bottom) % STEP
        larger = np.asarray(cv2.copyMakeBorder(image, top, bottom, left, right, border), np.uint8)
        return self._run(larger, 1.0)[top : top + height, left : left + width]

    def _run(self, image: Image, factor: float) -> Mask:
        """The network's answer, at a size about `factor` times the picture's."""
        width, height = (max(2 * STEP, round(side * factor / STEP) * STEP) for side in image.shape[1::-1])
        interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        pixels = np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)
        network = self._open()
        output = network(to_nchw(pixels, 0.5, 0.5))
        if output.shape != (1, 1, height, width):
            raise network.broken_model(f"it gives {output.shape}")
        return output[0, 0]


def make(settings: Settings, models: ModelStore, engines: Engines) -> NetworkMatting:
    """Find the network, which the first matte loads."""
    path = models.file(MODEL, "modnet.onnx")
    return NetworkMatting(
        ModNet(cache(lambda: OnnxNetwork(path, MODEL))), engines.matter_named("selfie"), engines.finder, VERSION
    )


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files, one sentence each; empty when the engine is ready."""
    return [f"{each} Until then the segmenter (selfie) makes mattes." for each in models.missing(MODEL)]
