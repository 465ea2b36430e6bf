"""Upscaler with Real-ESRGAN's x4plus network as ncnn has it, which every installation can have; BSD-3-Clause.

The same network as `realesrgan` runs for ×4; ×2 is its ×4, halved. On a CPU it takes 7 s for 128 by 128 pixels, so it serves
small faces (`pipelines.enhance`) rather than whole portraits.
"""

from pipelines.engines import Engines
from pipelines.engines.runtimes.onnx import unused_gpu
from pipelines.engines.upscalers.realesrgan import RealESRGAN
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings

FILES = {4: ("realesrgan_x4plus", "REALESRGAN_X4PLUS_UP4X.param")}
"""Model and file, by factor; the weights lie beside it."""


def make(settings: Settings, models: ModelStore, engines: Engines) -> RealESRGAN:
    """The engine; the network is loaded when it is first used."""
    return RealESRGAN(models, files=FILES)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files and a GPU that onnxruntime cannot use, one sentence each; empty when the engine is ready."""
    return [*models.missing(FILES[4][0]), *unused_gpu()]
