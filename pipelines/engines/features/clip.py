"""CLIP ViT-B/32, which the published CLIP score is measured with: pictures and words in one space."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from transformers import CLIPModel, CLIPTokenizer
from transformers import logging as transformers_log

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import broken_model
from portrait.metrics import Numbers

MODEL = "clip"
BATCH = 16
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that CLIP learned from, where a folder does not say otherwise."""


class Clip:
    """Features of pictures and of words; on the GPU where there is one."""

    def __init__(self, folder: Path) -> None:
        """Load a hub folder; raises `EngineError` (`broken_model`)."""
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            loaded: Any = CLIPModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
            model, about = loaded
            self._words = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            told = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
            mean, deviation = told.get("image_mean", MEAN), told.get("image_std", DEVIATION)
            self._mean, self._deviation = (np.array(each, np.float32).reshape(3) for each in (mean, deviation))
        except Exception as error:  # transformers' errors share no narrower base.
            raise broken_model(folder, str(error), MODEL) from error
        if about["missing_keys"]:
            raise broken_model(folder, f"it lacks {len(about['missing_keys'])} weights", MODEL)
        self._model = model.eval().to(self._device)
        self._side = int(model.config.vision_config.image_size)
        self._length = int(model.config.text_config.max_position_embeddings)

    def pictures(self, images: Sequence[Image]) -> Numbers:
        """Features N×D of pictures; see `portrait.ports.Comparer`."""
        made = []
        for start in range(0, len(images), BATCH):
            pixels = np.stack([self._pixels(image) for image in images[start : start + BATCH]])
            with torch.inference_mode():
                seen = self._model.vision_model(pixel_values=torch.from_numpy(pixels).to(self._device))
                made.append(self._model.visual_projection(seen.pooler_output).double().cpu().numpy())
        return np.concatenate(made)

    def words(self, texts: Sequence[str]) -> Numbers:
        """Features N×D of texts; what is longer than CLIP reads is cut off."""
        made = []
        for start in range(0, len(texts), BATCH):
            part = list(texts[start : start + BATCH])
            tokens = self._words(part, padding=True, truncation=True, max_length=self._length, return_tensors="pt")
            tokens = tokens.to(self._device)
            with torch.inference_mode():
                read = self._model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
                made.append(self._model.text_projection(read.pooler_output).double().cpu().numpy())
        return np.concatenate(made)

    def _pixels(self, image: Image) -> np.ndarray:
        """3×side×side: the short side fitted (bicubic, as CLIP was shown pictures), the middle cut out."""
        height, width = image.shape[:2]
        share = self._side / min(height, width)
        size = (max(self._side, round(width * share)), max(self._side, round(height * share)))
        small = np.asarray(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC))
        top, left = (size[1] - self._side) // 2, (size[0] - self._side) // 2
        middle = small[top : top + self._side, left : left + self._side].astype(np.float32) / 255
        return np.ascontiguousarray(((middle - self._mean) / self._deviation).transpose(2, 0, 1))


def make(settings: Settings, models: Models, engines: Engines) -> Clip:
    """Load the network and its words."""
    transformers_log.set_verbosity_error()
    transformers_log.disable_progress_bar()
    return Clip(models.folder(MODEL))


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing."""
    return models.missing(MODEL)
