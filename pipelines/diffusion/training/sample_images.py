"""Drawing prompts with a stock pipeline, one picture at a time, stopping within one of its steps."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipelines.diffusion.base.family import Family
from pipelines.diffusion.base.loading import Source
from pipelines.diffusion.training.text_embeddings import Wording
from portrait.arrays import Image


@dataclass(frozen=True, slots=True, eq=False)
class Pen:
    """Networks that draw; the scheduler is the base's own."""

    family: Family
    pipeline: Any
    wording: Wording
    device: torch.device
    side: int

    def draw(self, prompt: str, negative: str, seed: int, knobs: "Stroke", tell: Callable[[], None]) -> Image:
        """One square picture of the base's size; `tell` is called at each step and may raise."""
        with torch.no_grad():
            words, other = self.wording([prompt]), self.wording([negative])
            dtype = next(self.pipeline.unet.parameters()).dtype
            given = self.family.prompt(words.to(self.device, dtype), other.to(self.device, dtype))
            drawn = self.pipeline(
                **given,
                width=self.side,
                height=self.side,
                num_inference_steps=knobs.steps,
                guidance_scale=knobs.guidance,
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="np",
                callback_on_step_end=_telling(tell),
            ).images[0]
        return np.asarray((np.nan_to_num(drawn).clip(0, 1) * 255).round(), np.uint8)


@dataclass(frozen=True, slots=True)
class Stroke:
    """How much is spent on a picture."""

    steps: int
    guidance: float


def pen(base: Source, parts: Mapping[str, Any], wording: Wording, device: torch.device, side: int) -> Pen:
    """From a U-Net and a VAE; captions come encoded, so that text encoders need not be there."""
    named = inspect.signature(base.family.pipeline).parameters.values()
    missing: dict[str, Any] = {
        each.name: None for each in named if each.default is each.empty and each.name not in parts
    }
    if "safety_checker" in missing:
        missing["requires_safety_checker"] = False
    pipeline = base.family.pipeline(**parts, **missing)
    pipeline.set_progress_bar_config(disable=True)
    return Pen(base.family, pipeline, wording, device, side)


def prompts(given: Sequence[str], **words: str) -> list[str]:
    """Prompts with their blanks filled in; other braces stay."""
    filled = list(given)
    for name, word in words.items():
        filled = [each.replace(f"{{{name}}}", word) for each in filled]
    return filled


def _telling(tell: Callable[[], None]) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    def told(pipeline: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        tell()
        return tensors

    return told
