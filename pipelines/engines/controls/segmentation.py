"""Control image of what stands where, one colour for each class of ADE20K: UperNet, through transformers' own classes; MIT."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSemanticSegmentation, SegformerImageProcessorPil

from pipelines.diffusion.base import checkpoint_files
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import broken_model

MODELS = ("upernet",)
PALETTE = np.frombuffer(
    bytes.fromhex(
        "787878b4787806e6e650323204c8037878508c8c8ccc05ffe6e6e604fa07e005ffebff0796053d78784608ff33ff0652"
        "8fff8cccff04ff3307cc46030066c83de6faff06330b66ffff0747ff09e00907e6dcdcdcff095c7009ff08ffd607ffe0"
        "ffb8060aff47ff290a07ffffe0ff086608ffff3d06ffc207ff7a0800ff14ff0829ff05990633ffeb0cffa0961400a3ff"
        "8c8c8cfa0a0f14ff001fff00ff1f00ffe00099ff000000ffff470000ebff00adff1f00ff0bc8c8ff520000fff5003dff"
        "00ff7000ff85ff0000ffa300ff6600c2ff00008fff33ff000052ff00ff2900ffad0a00ffadff0000ff99ff5c00ff00ff"
        "ff00f5ff0066ffad00ff0014ffb8b8001fff00ff3d0047ffff00cc00ffc200ff52000aff0070ff3300ff00c2ff007aff"
        "00ffa3ff990000ff0aff70008fff005200ffa3ff00ffeb0008b8aa8500ff00ff5cb800ffff001f00b8ff00d6ffff0070"
        "5cff0000e0ff70e0ff46b8a0a300ff9900ff47ff00ff00a3ffcc00ff008f00ffeb85ff00ff00ebf500ffff007afff500"
        "0abed4d6ff0000ccff1400ffffff000099ff0029ff00ffcc2900ff29ff00ad00ff00f5ff4700ff7a00ff00ffb8005cff"
        "b8ff000085ffffd60019c2c266ff005c00ff"
    ),
    np.uint8,
).reshape(-1, 3)
"""150×3: the colours of ADE20K's classes in their order, as MMSegmentation has them and ControlNet was trained with."""


class Segmentation:
    """Tells what stands where."""

    def __init__(self, folder: Path) -> None:
        """Load a hub folder of a network for ADE20K's classes; raises `EngineError` (`broken_model`)."""
        try:
            network: Any = AutoModelForSemanticSegmentation.from_pretrained(str(folder), local_files_only=True)
            self._processor: Any = SegformerImageProcessorPil.from_pretrained(str(folder), local_files_only=True)
        except checkpoint_files.BROKEN as error:
            raise broken_model(folder, str(error).split("\n")[0]) from error
        if network.config.num_labels != len(PALETTE):
            raise broken_model(folder, f"it knows {network.config.num_labels} classes, not ADE20K's {len(PALETTE)}")
        self._network: Any = network.eval()

    def process(self, image: Image) -> Image:
        """The colour of each pixel's class, as large as the picture; see `portrait.ports.ControlPreprocessor`."""
        pixels = self._processor(images=[image], return_tensors="pt").pixel_values
        with torch.no_grad():
            logits = self._network(pixel_values=pixels).logits
            sized = torch.nn.functional.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=False)
        return PALETTE[sized[0].argmax(dim=0).numpy()]


def make(settings: Settings, models: ModelStore, engines: Engines) -> Segmentation:
    """Load the network."""
    return Segmentation(models.folder(*MODELS))
