"""Upscaler with the Real-ESRGAN networks for ×2 and ×4, which draw missing detail; BSD-3-Clause.

The published ONNX networks take 1×3×H×W in 0..1 of any size and give the same, enlarged. Pictures are run in tiles.
"""

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.engines.runtimes.onnx import Floats, OnnxNetwork, to_nchw, unused_gpu
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.images.tiling import Tiling, process_tiled

FILES = {2: ("realesrgan_x2", "real_esrgan_x2.onnx"), 4: ("realesrgan_x4", "real_esrgan_x4.onnx")}
"""Model and file, by factor."""
UNSHUFFLE = {2: 2, 4: 1}
"""By factor: the ×2 network begins with a pixel unshuffle of 2×2, so tiles begin at multiples of 2 and sides are padded to
one."""
TILING = Tiling(side=256, margin=20, feather=16)
"""A tile of 256 pixels at ×4 takes about a gigabyte in the network's widest layers."""


class RealESRGAN:
    """Enlarges with the networks that the model store has; each is loaded when it is first used."""

    def __init__(
        self, models: ModelStore, tiling: Tiling = TILING, files: Mapping[int, tuple[str, str]] = FILES
    ) -> None:
        """`files`: model and file by factor. Raises `OperatorError` (`missing_model`) where none of them is there."""
        self._models, self._tiling, self._files = models, tiling, files
        self._networks: dict[int, OnnxNetwork] = {}
        if all(models.missing(model) for model, _ in files.values()):
            models.folder(next(iter(files.values()))[0])  # Raises the error that names the command.

    def upscale(self, image: Image, factor: int) -> Image:
        """The picture, `factor` times as wide and high; see `portrait.ports.Upscaler`."""
        if factor not in self._files:
            larger = self.upscale(image, 4)
            size = (image.shape[1] * factor, image.shape[0] * factor)
            return np.asarray(cv2.resize(larger, size, interpolation=cv2.INTER_AREA), np.uint8)
        network = self._network(factor)
        tiling = replace(self._tiling, step=UNSHUFFLE[factor])
        if network.input_size is not None:
            side = min(network.input_size)
            tiling = Tiling(side, min(tiling.margin, side // 6), min(tiling.feather, side // 6), UNSHUFFLE[factor])
        return process_tiled(image, lambda tile: _upscale_tile(network, tile, factor), tiling, factor)

    def _network(self, factor: int) -> OnnxNetwork:
        if factor not in self._networks:
            model, file = self._files[factor]
            self._networks[factor] = OnnxNetwork(self._models.folder(model) / file, model)
        return self._networks[factor]


def _upscale_tile(network: OnnxNetwork, tile: Image, factor: int) -> Floats:
    """Run the network on one tile; gives `factor` times its size in 0..255. Raises `EngineError` (`broken_model`)."""
    height, width = tile.shape[:2]
    unshuffle = UNSHUFFLE[factor]
    tall, wide = network.input_size or (-(-height // unshuffle) * unshuffle, -(-width // unshuffle) * unshuffle)
    # A mirrored border needs at least two pixels.
    border = cv2.BORDER_REFLECT_101 if min(height, width) > 1 else cv2.BORDER_REPLICATE
    padded = cv2.copyMakeBorder(tile, 0, tall - height, 0, wide - width, border)
    output = network(to_nchw(np.asarray(padded, np.uint8)))
    if output.shape != (1, 3, tall * factor, wide * factor):
        raise network.broken_model(f"of {tall}×{wide} pixels it makes {output.shape}, not {factor} times as much")
    return output[0].transpose(1, 2, 0)[: height * factor, : width * factor] * np.float32(255)


def make(settings: Settings, models: ModelStore, engines: Engines) -> RealESRGAN:
    """The engine; networks are loaded when they are used, and at least one of the two must be there."""
    return RealESRGAN(models)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files and a GPU that onnxruntime cannot use, one sentence each; empty when the engine is ready."""
    missing = [sentence for model, _ in FILES.values() for sentence in models.missing(model)]
    return [*missing, *unused_gpu()]
