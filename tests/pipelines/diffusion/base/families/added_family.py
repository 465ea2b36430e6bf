"""A family of base models as somebody would add it: the file that a test puts into a folder of its own."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from diffusers import Flux2KleinPipeline

from pipelines.diffusion.base.families.flux2 import Flux2
from pipelines.diffusion.base.family import LoraName
from pipelines.diffusion.base.parts import kohya
from pipelines.diffusion.base.parts.loss import FlowMatchingLoss
from portrait.generation.abilities import Abilities
from portrait.generation.sampling_facts import SamplingPreset

ONE_STEP = SamplingPreset("own", 1, 1.0, 1.0)


class AddedPipeline(Flux2KleinPipeline):
    """The stock pipeline of the family."""


class Added(Flux2):
    """Draws in one step without guidance, from two references; people are learned in its single blocks alone."""

    name = "added"
    pipeline = AddedPipeline
    pipeline_names = ("AddedPipeline",)  # pyrefly: ignore[bad-override] -- a name of its own
    pipelines = MappingProxyType({})
    detection_key = "added.weight"
    architecture = "added-1"
    kohya_version = "added_v1"
    abilities = Abilities(references=2, sentences=True, prompt_weights=True)
    presets = MappingProxyType({"fast": ONE_STEP, "balanced": ONE_STEP, "best": ONE_STEP})
    rank = 8

    def lora_targets(self, denoiser: Any) -> Sequence[str]:
        """Those of single blocks."""
        return [name for name in super().lora_targets(denoiser) if name.startswith("single_")]

    def loss(self, scheduler: Mapping[str, Any], min_snr_gamma: float) -> FlowMatchingLoss:
        """Without a shift."""
        return FlowMatchingLoss(0.0, 0.0)

    def single_file_weights(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Under a prefix of its own."""
        return {f"added.{name}": each for name, each in super().single_file_weights(components).items()}

    def kohya_weights(self, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Every module has a name of its own."""
        return kohya.rename(
            weights, lambda module: f"lora_unet_of_{module.removeprefix('transformer.')}".replace(".", "_")
        )

    def lora_names(self, layer: str, config: Mapping[str, Any]) -> Sequence[LoraName]:
        """Those of `kohya_weights`."""
        return [LoraName(f"of_{layer}")]


FAMILY = Added()
