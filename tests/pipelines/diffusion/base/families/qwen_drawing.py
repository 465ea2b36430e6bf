"""Draws with a tiny Qwen-Image, through this project and through diffusers' own pipelines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.sampling import pipeline_call
from pipelines.diffusion.sampling.pipeline_call import Conditioning, ControlNetUnit
from portrait.arrays import Image
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters
from tests.pipelines.diffusion.base.families.flux2_drawing import (
    GUIDANCE,
    NEGATIVE,
    PROMPT,
    SEED,
    SIZE,
    STEPS,
    apart,
    draw,
    load,
    picture,
)

__all__ = ["SIZE", "STEPS", "apart", "draw", "draw_controlled", "load", "person_lora", "picture", "quiet", "stock"]


def quiet(pipe: Any) -> Any:
    """A pipeline without its progress bar."""
    pipe.set_progress_bar_config(disable=True)
    return pipe


def person_lora(loaded: LoadedBase, seed: int, folder: Path, rank: int = 4) -> tuple[Path, Path]:
    """A LoRA of all layers that people are learned in, as a training writes it: diffusers' names and kohya's."""
    random, weights = torch.Generator().manual_seed(seed), dict[str, torch.Tensor]()
    for name in loaded.family.lora_targets(loaded.denoiser):
        layer = loaded.denoiser.get_submodule(name)
        weights[f"transformer.{name}.lora_A.weight"] = torch.randn(rank, layer.in_features, generator=random) / 4
        weights[f"transformer.{name}.lora_B.weight"] = torch.randn(layer.out_features, rank, generator=random) / 4
    folder.mkdir(parents=True, exist_ok=True)
    return lora.write_both(weights, loaded.family, {}, "sks", folder)


def draw_controlled(loaded: LoadedBase, units: Sequence[ControlNetUnit], **changes: Any) -> np.ndarray:
    """A picture by controls through this project."""
    given: dict[str, Any] = {"prompt": PROMPT, "negative": NEGATIVE, "size": SIZE, "seed": SEED, "steps": STEPS}
    given |= {"guidance": GUIDANCE, "options": GenerationOptions(cutoff=1.0), **changes}
    with loaded.lease() as lease:
        conditionings = [Conditioning(controlnets=units)]
        return pipeline_call.generate_image(lease, GenerationParameters(**given), conditionings, lambda done: None)


def stock(pipe: Any, references: Sequence[Image] = (), **changes: Any) -> np.ndarray:
    """The same through a stock pipeline, which encodes the words itself; `changes` are arguments of its call."""
    given: dict[str, Any] = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS}
    given |= {"width": SIZE.width, "height": SIZE.height, "true_cfg_scale": GUIDANCE, "output_type": "np"}
    given |= {"max_sequence_length": 1024}
    if references:
        given["image"] = [PIL.Image.fromarray(each) for each in references]
    return pipe(**given | changes, generator=torch.Generator("cpu").manual_seed(SEED)).images[0]
