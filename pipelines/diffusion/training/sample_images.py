"""SampleGenerator: images of prompts from the networks in training, one at a time, cancellable at each sampling step."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from pipelines.diffusion.base.family import Family
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.training.text_embeddings import TextEmbedder
from pipelines.settings import PriorSettings, ValidationSettings
from portrait.arrays import Image

SamplingSettings: TypeAlias = PriorSettings | ValidationSettings
"""Settings with the steps and the guidance of an image."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleGenerator:
    """A stock pipeline with the base's own scheduler, and the embeddings of its prompts."""

    family: Family
    pipeline: Any
    text_embedder: TextEmbedder
    device: torch.device
    side: int
    """Of the square images, pixels."""

    def generate(
        self, prompt: str, negative: str, seed: int, sampling: SamplingSettings, on_step: Callable[[], None]
    ) -> Image:
        """One square image; `on_step` is called after each sampling step and may raise."""
        with torch.no_grad():
            denoiser = self.pipeline.components[self.family.denoiser]
            dtype = denoiser.dtype  # not that of its weights where these are quantised
            embedded = (self.text_embedder([text]).to(self.device, dtype) for text in (prompt, negative))
            image = self.pipeline(
                **self.family.prompt_arguments(*embedded),
                width=self.side,
                height=self.side,
                num_inference_steps=sampling.steps,
                **self.family.guidance_arguments(sampling.guidance),
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="np",
                callback_on_step_end=_step_callback(on_step),
            ).images[0]
        return np.asarray((np.nan_to_num(image).clip(0, 1) * 255).round(), np.uint8)


def make_generator(
    base: BaseSource, components: Mapping[str, Any], text_embedder: TextEmbedder, device: torch.device, side: int
) -> SampleGenerator:
    """A generator from a denoiser, VAE and scheduler; prompts come embedded, so that text encoders need not be loaded."""
    parameters = inspect.signature(base.family.pipeline).parameters.values()
    required = {each.name for each in parameters if each.default is each.empty}
    missing: dict[str, Any] = dict.fromkeys(required - components.keys())
    if "safety_checker" in missing:
        missing["requires_safety_checker"] = False
    vae = components["vae"]
    # Autocast would take a VAE that overflows in half precision, and that diffusers decodes in float32 therefore, back to half.
    vae.decode = torch.autocast(device.type, enabled=False)(vae.decode)
    pipeline = base.family.pipeline(**components, **missing)
    pipeline.set_progress_bar_config(disable=True)
    return SampleGenerator(base.family, pipeline, text_embedder, device, side)


def shows_nothing(image: Image) -> bool:
    """Whether an image is black or of one colour, as where no numbers came out."""
    return not np.ptp(image, axis=(0, 1)).any()


def fill_prompts(prompts: Sequence[str], **words: str) -> list[str]:
    """Prompts with the given placeholders filled in; other braces stay."""
    filled = list(prompts)
    for name, word in words.items():
        filled = [each.replace(f"{{{name}}}", word) for each in filled]
    return filled


def _step_callback(on_step: Callable[[], None]) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    def callback(pipeline: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step()
        return tensors

    return callback
