"""RestoreFormer++: draws a small or blurred face anew from what it has learned of faces; Apache-2.0.

The published ONNX shape, which GFPGAN's conversions share: a face of 512×512 in FFHQ's crop, −1..1 in and out.
"""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.engines.onnx.network import Network, idle_gpu, planes
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.faces.alignment import Floats, back, cut, ffhq, scale_of, square
from portrait.images.color import blend
from portrait.types import Face

MODEL, FILE = "restoreformer", "restoreformer_plus_plus.onnx"
SIDE = 512
ENOUGH = 2.0
"""A face this many times larger than the network's is left alone: it holds more than the network could give back."""


class RestoreFormer:
    """Restores one face; all else stays to the bit."""

    def __init__(self, network: Network) -> None:
        if network.size not in (None, (SIDE, SIDE)):
            raise network.broken(f"it takes pictures of {network.size}, not {SIDE} pixels")
        self._network = network

    def restore(self, image: Image, face: Face) -> Image:
        """The same picture with this face drawn clearer; see `portrait.ports.Restorer`.

        A face larger than the network's 512 pixels would lose detail: the restored one fades out as it grows, to
        nothing at twice that size.
        """
        matrix = ffhq(face, SIDE)
        share = float(np.clip((ENOUGH - 1 / scale_of(matrix)) / (ENOUGH - 1), 0, 1))
        rows, columns = _window(image, face)
        if share == 0 or min(rows.stop - rows.start, columns.stop - columns.start) < 2:
            return image.copy()
        window = image[rows, columns]
        matrix[:, 2] += matrix[:, :2] @ (columns.start, rows.start)
        drawn = self._drawn(cut(window, matrix, SIDE))
        mask = back(square(SIDE) * np.float32(share), matrix, window.shape)
        changed = np.clip(back(drawn, matrix, window.shape) + np.float32(0.5), 0, 255).astype(np.uint8)
        out = image.copy()
        out[rows, columns] = blend(window, changed, mask)
        return out

    def _drawn(self, crop: Image) -> Floats:
        """The crop as the network draws it, 0..255."""
        found = self._network(planes(crop, 0.5, 0.5))
        if found.shape != (1, 3, SIDE, SIDE):
            raise self._network.broken(f"it gives {found.shape}")
        return np.ascontiguousarray((found[0].transpose(1, 2, 0) + 1) * np.float32(127.5))


def _window(image: Image, face: Face) -> tuple[slice, slice]:
    """The part of the picture that the crop touches."""
    matrix = ffhq(face, SIDE)
    corners = cv2.transform(
        np.array([[[-1, -1], [SIDE, -1], [SIDE, SIDE], [-1, SIDE]]], np.float64), cv2.invertAffineTransform(matrix)
    )[0]
    low, high = np.floor(corners.min(0)).astype(int) - 2, np.ceil(corners.max(0)).astype(int) + 3
    height, width = image.shape[:2]
    left, right = np.clip([low[0], high[0]], 0, width)
    top, bottom = np.clip([low[1], high[1]], 0, height)
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def make(settings: Settings, models: Models, engines: Engines) -> RestoreFormer:
    """Load the network."""
    return RestoreFormer(Network(models.file(MODEL, FILE), MODEL))


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing, and a GPU that lies idle."""
    return [*models.missing(MODEL), *idle_gpu()]
