"""How far away things are, the nearest white: Depth Anything V2 small, through transformers' own classes; Apache-2.0.

The published depth networks were shown what MiDaS sees, which is relative and inverse as well.
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
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import broken_model

MODEL = "depth_anything"


class Depth:
    """Draws distances."""

    def __init__(self, folder: Path) -> None:
        try:
            network: Any = AutoModelForDepthEstimation.from_pretrained(str(folder), local_files_only=True)
            self._eyes: Any = DPTImageProcessorPil.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, pickle.UnpicklingError) as error:
            raise broken_model(folder, str(error).split("\n")[0]) from error
        self._network: Any = network.eval()

    def draw(self, image: Image) -> Image:
        """See `portrait.ports.Control`."""
        height, width = image.shape[:2]
        seen = self._eyes(images=[image], return_tensors="pt").pixel_values
        with torch.no_grad():
            near = self._network(pixel_values=seen).predicted_depth[0].float().numpy()
        sized = cv2.resize(near, (width, height), interpolation=cv2.INTER_CUBIC)
        low, high = float(sized.min()), float(sized.max())
        share = (sized - low) / ((high - low) or 1.0)
        return np.repeat((share * 255).round().astype(np.uint8)[..., None], 3, axis=2)


def make(settings: Settings, models: Models, engines: Engines) -> Depth:
    """Load the network."""
    return Depth(models.folder(MODEL))


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing."""
    return models.missing(MODEL)
