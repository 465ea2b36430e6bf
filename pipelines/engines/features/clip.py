"""Features of pictures and texts in one space by CLIP ViT-B/32, with which the published CLIP score is measured."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from transformers import CLIPModel, CLIPTokenizer
from transformers import logging as transformers_log

from pipelines.diffusion.base.checkpoint_files import BROKEN
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import broken_model
from portrait.metrics import Numbers

MODEL = "clip"
MODELS = (MODEL,)
BATCH = 16
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels (0..1, RGB) that CLIP was trained with, where a folder has no others."""


class ClipEncoder:
    """Encodes pictures and texts; on the GPU where there is one."""

    def __init__(self, folder: Path) -> None:
        """Load a hub folder; raises `EngineError` (`broken_model`)."""
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            loaded: Any = CLIPModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
            model, loading_info = loaded
            self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            config = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
            mean, std = config.get("image_mean", MEAN), config.get("image_std", STD)
            self._mean, self._std = (np.array(each, np.float32).reshape(3) for each in (mean, std))
        except (*BROKEN, AttributeError, TypeError) as error:
            raise broken_model(folder, str(error), MODEL) from error
        if loading_info["missing_keys"]:
            raise broken_model(folder, f"it lacks {len(loading_info['missing_keys'])} weights", MODEL)
        self._model = model.eval().to(self._device)
        self._side = int(model.config.vision_config.image_size)
        self._length = int(model.config.text_config.max_position_embeddings)

    def encode_images(self, images: Sequence[Image]) -> Numbers:
        """Features N×D of pictures; see `portrait.ports.ImageTextEncoder`."""
        features = []
        for start in range(0, len(images), BATCH):
            pixels = np.stack([self._preprocess(image) for image in images[start : start + BATCH]])
            with torch.inference_mode():
                output = self._model.vision_model(pixel_values=torch.from_numpy(pixels).to(self._device))
                features.append(self._model.visual_projection(output.pooler_output).double().cpu().numpy())
        return np.concatenate(features)

    def encode_texts(self, texts: Sequence[str]) -> Numbers:
        """Features N×D of texts; longer ones than CLIP's 77 tokens are cut off."""
        features = []
        for start in range(0, len(texts), BATCH):
            part = list(texts[start : start + BATCH])
            tokens = self._tokenizer(part, padding=True, truncation=True, max_length=self._length, return_tensors="pt")
            tokens = tokens.to(self._device)
            with torch.inference_mode():
                output = self._model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
                features.append(self._model.text_projection(output.pooler_output).double().cpu().numpy())
        return np.concatenate(features)

    def _preprocess(self, image: Image) -> np.ndarray:
        """3×side×side, normalised: the short side resized (bicubic, as in CLIP's training), the centre cropped."""
        height, width = image.shape[:2]
        share = self._side / min(height, width)
        size = (max(self._side, round(width * share)), max(self._side, round(height * share)))
        small = np.asarray(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC))
        top, left = (size[1] - self._side) // 2, (size[0] - self._side) // 2
        middle = small[top : top + self._side, left : left + self._side].astype(np.float32) / 255
        return np.ascontiguousarray(((middle - self._mean) / self._std).transpose(2, 0, 1))


def make(settings: Settings, models: ModelStore, engines: Engines) -> ClipEncoder:
    """Load the network and its tokenizer."""
    transformers_log.set_verbosity_error()
    transformers_log.disable_progress_bar()
    return ClipEncoder(models.folder(MODEL))
