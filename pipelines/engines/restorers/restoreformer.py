"""Restorer with the RestoreFormer++ network, which redraws a small or blurred face; Apache-2.0.

The published ONNX network, like GFPGAN's conversions, takes and gives a face of 512×512 in FFHQ's crop, −1..1.
"""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.engines.runtimes.onnx import OnnxNetwork, to_nchw, unused_gpu
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.faces.alignment import Floats, crop_aligned, feathered_square, ffhq_alignment, matrix_scale, warp_back
from portrait.images.color import blend
from portrait.types import Face

MODEL, FILE = "restoreformer", "restoreformer_plus_plus.onnx"
SIDE = 512
MAX_SCALE = 2.0
"""A face this many times larger than the network's is left alone: it has more detail than the network's output."""


class RestoreFormer:
    """Restores one face; pixels outside of its crop stay."""

    def __init__(self, network: OnnxNetwork) -> None:
        if network.input_size not in (None, (SIDE, SIDE)):
            raise network.broken_model(f"it takes pictures of {network.input_size}, not {SIDE} pixels")
        self._network = network

    def restore(self, image: Image, face: Face) -> Image:
        """The same picture with this face restored; see `portrait.ports.Restorer`.

        A face larger than the network's 512 pixels would lose detail: the larger it is, the less of the restored one is
        blended in, and nothing from twice that size on.
        """
        matrix = ffhq_alignment(face, SIDE)
        share = float(np.clip((MAX_SCALE - 1 / matrix_scale(matrix)) / (MAX_SCALE - 1), 0, 1))
        rows, columns = _crop_window(image, face)
        if share == 0 or min(rows.stop - rows.start, columns.stop - columns.start) < 2:
            return image.copy()
        window = image[rows, columns]
        matrix[:, 2] += matrix[:, :2] @ (columns.start, rows.start)
        restored = self._run(crop_aligned(window, matrix, SIDE))
        mask = warp_back(feathered_square(SIDE) * np.float32(share), matrix, window.shape)
        changed = np.clip(warp_back(restored, matrix, window.shape) + np.float32(0.5), 0, 255).astype(np.uint8)
        out = image.copy()
        out[rows, columns] = blend(window, changed, mask)
        return out

    def _run(self, crop: Image) -> Floats:
        """The restored crop, 512×512×3 in 0..255; raises `EngineError` (`broken_model`)."""
        output = self._network(to_nchw(crop, 0.5, 0.5))
        if output.shape != (1, 3, SIDE, SIDE):
            raise self._network.broken_model(f"it gives {output.shape}")
        return np.ascontiguousarray((output[0].transpose(1, 2, 0) + 1) * np.float32(127.5))


def _crop_window(image: Image, face: Face) -> tuple[slice, slice]:
    """Rows and columns of the picture that the face's crop covers, with a margin for interpolation."""
    matrix = ffhq_alignment(face, SIDE)
    corners = cv2.transform(
        np.array([[[-1, -1], [SIDE, -1], [SIDE, SIDE], [-1, SIDE]]], np.float64), cv2.invertAffineTransform(matrix)
    )[0]
    low, high = np.floor(corners.min(0)).astype(int) - 2, np.ceil(corners.max(0)).astype(int) + 3
    height, width = image.shape[:2]
    left, right = np.clip([low[0], high[0]], 0, width)
    top, bottom = np.clip([low[1], high[1]], 0, height)
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def make(settings: Settings, models: ModelStore, engines: Engines) -> RestoreFormer:
    """Load the network."""
    return RestoreFormer(OnnxNetwork(models.file(MODEL, FILE), MODEL))


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files and a GPU that onnxruntime cannot use, one sentence each; empty when the engine is ready."""
    return [*models.missing(MODEL), *unused_gpu()]
