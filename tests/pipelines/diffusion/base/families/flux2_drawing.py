"""Draws with a tiny FLUX.2, or another tiny base, through this project, and with FLUX.2 through diffusers' own pipelines."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.base.registry import family_by_name
from pipelines.diffusion.sampling import pipeline_call
from pipelines.diffusion.sampling.pipeline_call import Conditioning, ControlNetUnit
from portrait.arrays import Image, Size
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters

FAMILY = family_by_name("flux2")
PROMPT, NEGATIVE = "a photo of a man", "low quality"
SIZE, STEPS, GUIDANCE, SEED = Size(96, 64), 2, 4.0, 3
LAYERS, LENGTH = (1, 2, 3), 96
"""Which states of the tiny encoder are read, and how many tokens it takes."""


def load(folder: Path, profile: MemoryProfile = "full", compiled: bool = False) -> LoadedBase:
    """The base of a hub folder on the CPU."""
    base = open_base(folder.name, folder)
    return LoadedBase(base, torch.float32, torch.device("cpu"), profile, compiled)


def picture(seed: int, size: Size = SIZE) -> Image:
    """Noise in cells of 8 pixels."""
    coarse = np.random.default_rng(seed).integers(0, 255, (size.height // 8, size.width // 8, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1))


def person_lora(loaded: LoadedBase, seed: int, folder: Path, rank: int = 4) -> tuple[Path, Path]:
    """A LoRA of all layers that people are learned in, as a training writes it: diffusers' names and kohya's."""
    random, weights = torch.Generator().manual_seed(seed), dict[str, torch.Tensor]()
    for name in loaded.family.lora_targets(loaded.denoiser):
        layer = loaded.denoiser.get_submodule(name)
        weights[f"transformer.{name}.lora_A.weight"] = torch.randn(rank, layer.in_features, generator=random) / 4
        weights[f"transformer.{name}.lora_B.weight"] = torch.randn(layer.out_features, rank, generator=random) / 4
    folder.mkdir(parents=True, exist_ok=True)
    return lora.write_both(weights, loaded.family, {}, "sks", folder)


def draw(
    loaded: LoadedBase,
    references: Sequence[Image] = (),
    lora_file: Path | None = None,
    on_step: Callable[[int], None] = lambda done: None,
    preview: Callable[[Any], None] | None = None,
    controls: Sequence[ControlNetUnit] = (),
    **changes: Any,
) -> np.ndarray:
    """A picture through this project; `changes` are fields of the parameters; a second adapter brings the last reference."""
    given: dict[str, Any] = {"prompt": PROMPT, "negative": NEGATIVE, "size": SIZE, "seed": SEED, "steps": STEPS}
    given |= {"guidance": GUIDANCE, "options": GenerationOptions(cutoff=1.0)}
    given |= {"guided_above": loaded.family.guided_above, **changes}
    with loaded.lease() as lease:
        if lora_file is not None:
            lease.load_person_lora(lora_file, 1.0)
        conditionings = [Conditioning(references=each) for each in (references[:-1], references[-1:])]
        conditionings += [Conditioning(controlnets=controls)] if controls else []
        return pipeline_call.generate_image(lease, GenerationParameters(**given), conditionings, on_step, preview)


def stock(pipe: Any, references: Sequence[Image] = (), **changes: Any) -> np.ndarray:
    """The same through a stock pipeline, which encodes the words itself; `changes` are arguments of its call."""
    without, _ = pipe.encode_prompt(NEGATIVE, max_sequence_length=LENGTH, text_encoder_out_layers=LAYERS)
    given: dict[str, Any] = {"prompt": PROMPT, "negative_prompt_embeds": without, "num_inference_steps": STEPS}
    given |= {"width": SIZE.width, "height": SIZE.height, "guidance_scale": GUIDANCE, "output_type": "np"}
    given |= {"max_sequence_length": LENGTH, "text_encoder_out_layers": LAYERS}
    if references:
        name = "image_reference" if hasattr(pipe, "mask_processor") else "image"
        given[name] = [PIL.Image.fromarray(each) for each in references]
    return pipe(**given | changes, generator=torch.Generator("cpu").manual_seed(SEED)).images[0]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of two pictures."""
    return float(np.abs(one - other).max())
