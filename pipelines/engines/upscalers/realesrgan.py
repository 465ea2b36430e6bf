"""Real-ESRGAN: enlarges 2 or 4 times and draws the detail that is missing; BSD-3-Clause.

The published ONNX shape: 1×3×H×W in 0..1, any size, out as many times as large. Pictures go through in tiles.
"""

from dataclasses import replace

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.engines.onnx.network import Floats, Network, idle_gpu, planes
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.images.tiling import Tiling, tiled

FILES = {2: ("realesrgan_x2", "real_esrgan_x2.onnx"), 4: ("realesrgan_x4", "real_esrgan_x4.onnx")}
"""Model and file, by factor."""
FOLDS = {2: 2, 4: 1}
"""The ×2 network folds 2×2 pixels into one: tiles begin at multiples of this, and sides are brought up to one."""
TILING = Tiling(side=256, margin=20, feather=16)
"""A tile of 256 pixels at ×4 takes about a gigabyte in the network's widest layers."""


class RealEsrgan:
    """Enlarges with the networks that are here; each is loaded when it is first asked for."""

    factors = (2, 4)

    def __init__(self, models: Models, tiling: Tiling = TILING) -> None:
        self._models, self._tiling = models, tiling
        self._networks: dict[int, Network] = {}
        if all(models.missing(model) for model, _ in FILES.values()):
            models.file(*FILES[2])  # Raises, and says which pull brings it.

    def upscale(self, image: Image, factor: int) -> Image:
        """The picture, `factor` times as wide and high; see `portrait.ports.Upscaler`."""
        network = self._network(factor)
        tiling = replace(self._tiling, step=FOLDS[factor])
        if network.size is not None:
            side = min(network.size)
            tiling = Tiling(side, min(tiling.margin, side // 6), min(tiling.feather, side // 6), FOLDS[factor])
        return tiled(image, lambda tile: _run(network, tile, factor), tiling, factor)

    def _network(self, factor: int) -> Network:
        if factor not in self._networks:
            model, file = FILES[factor]
            self._networks[factor] = Network(self._models.file(model, file), model)
        return self._networks[factor]


def _run(network: Network, tile: Image, factor: int) -> Floats:
    """One tile through the network, 0..255."""
    height, width = tile.shape[:2]
    fold = FOLDS[factor]
    tall, wide = network.size or (-(-height // fold) * fold, -(-width // fold) * fold)
    # A mirror needs a neighbour; one pixel has none.
    border = cv2.BORDER_REFLECT_101 if min(height, width) > 1 else cv2.BORDER_REPLICATE
    padded = cv2.copyMakeBorder(tile, 0, tall - height, 0, wide - width, border)
    found = network(planes(np.asarray(padded, np.uint8)))
    if found.shape != (1, 3, tall * factor, wide * factor):
        raise network.broken(f"of {tall}×{wide} pixels it makes {found.shape}, not {factor} times as much")
    return found[0].transpose(1, 2, 0)[: height * factor, : width * factor] * np.float32(255)


def make(settings: Settings, models: Models, engines: Engines) -> RealEsrgan:
    """Ready to load what is asked for; at least one of the two networks must be here."""
    return RealEsrgan(models)


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing, and a GPU that lies idle."""
    missing = [sentence for model, _ in FILES.values() for sentence in models.missing(model)]
    return [*missing, *idle_gpu()]
