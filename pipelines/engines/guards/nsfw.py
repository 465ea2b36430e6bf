"""CompVis's safety checker: whether a picture is near one of the concepts that must not be delivered.

It was made for Stable Diffusion's pictures. It errs on either side, and gives a verdict without naming the concept.
"""

import pickle
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPImageProcessorPil

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import broken_model

MODEL = "safety_checker"


class SafetyChecker:
    """Decides whether pictures may be delivered."""

    def __init__(self, folder: Path) -> None:
        """Load a hub folder; raises `EngineError` (`broken_model`)."""
        try:
            # Its publisher distributes a pickle, of which `from_pretrained` reads tensors alone.
            self._network: Any = StableDiffusionSafetyChecker.from_pretrained(str(folder), local_files_only=True).eval()
            self._processor: Any = CLIPImageProcessorPil.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
            raise broken_model(folder, str(error).split("\n")[0]) from error

    def allows(self, image: Image) -> bool:
        """Whether no concept was found; see `portrait.ports.Guard`."""
        pixels = self._processor(images=[image], return_tensors="pt").pixel_values
        with torch.no_grad():
            # It blackens flagged pictures in place, so it is given a copy.
            _, flagged = self._network(clip_input=pixels, images=[image.copy()])
        return not flagged[0]


def make(settings: Settings, models: ModelStore, engines: Engines) -> SafetyChecker:
    """Load the network."""
    return SafetyChecker(models.folder(MODEL))


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files, one sentence each; empty when the engine is ready."""
    return models.missing(MODEL)
