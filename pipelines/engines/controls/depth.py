"""Control image of depth, the nearest white: Depth Anything V2 small, through transformers' own classes; Apache-2.0.

The published depth ControlNets were trained with MiDaS, whose depth is relative and inverse as well.
"""

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModelForDepthEstimation, DPTImageProcessorPil

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import broken_model

MODELS = ("depth_anything",)


class DepthAnything:
    """Estimates depth."""

    def __init__(self, folder: Path) -> None:
        """Load a hub folder; raises `EngineError` (`broken_model`)."""
        try:
            network: Any = AutoModelForDepthEstimation.from_pretrained(str(folder), local_files_only=True)
            self._processor: Any = DPTImageProcessorPil.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, pickle.UnpicklingError) as error:
            raise broken_model(folder, str(error).split("\n")[0]) from error
        self._network: Any = network.eval()

    def process(self, image: Image) -> Image:
        """Depth in grey from 0 (farthest) to 255 (nearest), as large as the picture."""
        height, width = image.shape[:2]
        pixels = self._processor(images=[image], return_tensors="pt").pixel_values
        with torch.no_grad():
            near = self._network(pixel_values=pixels).predicted_depth[0].float().numpy()
        resized = cv2.resize(near, (width, height), interpolation=cv2.INTER_CUBIC)
        low, high = float(resized.min()), float(resized.max())
        normalized = (resized - low) / ((high - low) or 1.0)
        return np.repeat((normalized * 255).round().astype(np.uint8)[..., None], 3, axis=2)


def make(settings: Settings, models: ModelStore, engines: Engines) -> DepthAnything:
    """Load the network."""
    return DepthAnything(models.folder(*MODELS))
