"""Draws with tiny bases of FLUX.1, through this project and through diffusers' own pipelines."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.family import ControlNetUnit
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.sampling import pipeline_call
from pipelines.diffusion.sampling.pipeline_call import Conditioning
from portrait.arrays import Image, Size
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters
from tests.pipelines.diffusion.base.families import tiny_flux

PROMPT, NEGATIVE = "a photo of a man", "low quality"
SIZE, STEPS, GUIDANCE, SEED = Size(96, 64), 2, 3.5, 3


def load(folder: Path, profile: MemoryProfile = "full", compiled: bool = False) -> LoadedBase:
    """The base of a hub folder on the CPU."""
    base = open_base(folder.name, folder)
    return LoadedBase(base, torch.float32, torch.device("cpu"), profile, compiled)


def stock_pipeline(made: Any) -> Any:
    """A stock pipeline that says nothing while it draws."""
    made.set_progress_bar_config(disable=True)
    return made


def person_weights(network: Any, family: Any, seed: int, rank: int = 4) -> dict[str, torch.Tensor]:
    """A LoRA of all layers that people are learned in."""
    random, weights = torch.Generator().manual_seed(seed), dict[str, torch.Tensor]()
    for name in family.lora_targets(network):
        layer = network.get_submodule(name)
        weights[f"transformer.{name}.lora_A.weight"] = torch.randn(rank, layer.in_features, generator=random) / 4
        weights[f"transformer.{name}.lora_B.weight"] = torch.randn(layer.out_features, rank, generator=random) / 4
    return weights


def person_lora(loaded: LoadedBase, seed: int, folder: Path) -> tuple[Path, Path]:
    """The files of a person as a training writes them: diffusers' names and kohya's."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = person_weights(loaded.denoiser, loaded.family, seed)
    return lora.write_both(weights, loaded.family, {}, "sks", folder)


def draw(
    loaded: LoadedBase,
    references: Sequence[Image] = (),
    lora_file: Path | None = None,
    controls: Sequence[ControlNetUnit] = (),
    on_step: Callable[[int], None] = lambda done: None,
    preview: Callable[[Any], None] | None = None,
    **changes: Any,
) -> np.ndarray:
    """A picture through this project; `changes` are fields of the parameters."""
    base = loaded.source
    given: dict[str, Any] = {"prompt": PROMPT, "negative": NEGATIVE, "size": SIZE, "seed": SEED, "steps": STEPS}
    given |= {"guidance": GUIDANCE, "options": GenerationOptions(), "facts": base.facts, **changes}
    given["embeds_guidance"] = base.embeds_guidance
    with loaded.lease() as lease:
        if lora_file is not None:
            lease.load_person_lora(lora_file, 1.0)
        conditionings = [Conditioning(references=references), Conditioning(controlnets=controls)]
        return pipeline_call.generate_image(lease, GenerationParameters(**given), conditionings, on_step, preview)


def stock(pipe: Any, **changes: Any) -> np.ndarray:
    """The same through a stock pipeline, which encodes the words itself; `changes` are arguments of its call."""
    given: dict[str, Any] = {"prompt": PROMPT, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
    given |= {"width": SIZE.width, "height": SIZE.height, "max_sequence_length": tiny_flux.LENGTH}
    return pipe(**given | {"output_type": "np"} | changes, generator=torch.Generator("cpu").manual_seed(SEED)).images[0]
