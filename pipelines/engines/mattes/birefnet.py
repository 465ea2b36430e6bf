"""Mattes by BiRefNet's portrait network (Zheng and others 2024) and closed-form matting: for machines with a GPU; MIT.

A Swin transformer of 220 million weights, published as ONNX by the authors of rembg: 1×3×1024×1024, ImageNet's mean and
deviation; the output is logits. Ten times as slow as MODNet on a CPU.
"""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.engines.runtimes.matting import NetworkMatting
from pipelines.engines.runtimes.onnx import OnnxNetwork, to_nchw, unused_gpu
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Mask
from portrait.types import Face

__all__ = ["make", "status"]

MODEL, FILE = "birefnet", "BiRefNet-portrait-epoch_150.onnx"
VERSION = "birefnet 2"
"""As recipes hold it: another number when a change here draws other pixels."""
SIDE = 1024
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
"""Of ImageNet, in 0..1."""


class BiRefNet:
    """The network: the matte of all people in a picture."""

    def __init__(self, network: OnnxNetwork) -> None:
        self._network = network

    def __call__(self, image: Image, face: Face) -> Mask:
        """The matte 0..1 of the people in a window, 1024×1024 whatever its shape; raises `EngineError` (`broken_model`)."""
        height, width = self._network.input_size or (SIDE, SIDE)
        interpolation = cv2.INTER_AREA if min(image.shape[:2]) > SIDE else cv2.INTER_LINEAR
        pixels = np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)
        output = self._network(to_nchw(pixels, MEAN, STD))
        if output.shape != (1, 1, height, width):
            raise self._network.broken_model(f"it gives {output.shape}")
        return np.asarray(1 / (1 + np.exp(-np.clip(output[0, 0], -30, 30))), np.float32)


def make(settings: Settings, models: ModelStore, engines: Engines) -> NetworkMatting:
    """Load the network."""
    network = OnnxNetwork(models.file(MODEL, FILE), MODEL)
    return NetworkMatting(BiRefNet(network), engines.matter_named("selfie"), engines.finder, VERSION)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files, one sentence each, and a GPU that would not be used; empty when the engine is ready."""
    return [*models.missing(MODEL), *unused_gpu()]
