"""CompVis's safety checker: sees whether a picture is near to one of some concepts that must not be delivered.

It was made for Stable Diffusion's pictures; it errs on either side, and it says of no picture what it shows.
"""

import pickle
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPImageProcessorPil

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import broken_model

MODEL = "safety_checker"


class Nsfw:
    """Lets pictures pass or not."""

    def __init__(self, folder: Path) -> None:
        try:
            # A pickle by its publisher: `from_pretrained` reads tensors of it alone.
            self._network: Any = StableDiffusionSafetyChecker.from_pretrained(str(folder), local_files_only=True).eval()
            self._eyes: Any = CLIPImageProcessorPil.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
            raise broken_model(folder, str(error).split("\n")[0]) from error

    def passes(self, image: Image) -> bool:
        """See `portrait.ports.Guard`."""
        seen = self._eyes(images=[image], return_tensors="pt").pixel_values
        with torch.no_grad():
            # The pictures themselves it would blacken in place: it is given none of ours.
            _, found = self._network(clip_input=seen, images=[image.copy()])
        return not found[0]


def make(settings: Settings, models: Models, engines: Engines) -> Nsfw:
    """Load the network."""
    return Nsfw(models.folder(MODEL))


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing."""
    return models.missing(MODEL)
