"""Stable Diffusion 2.x and SD-Turbo: as Stable Diffusion 1.5 is built, with one text encoder of OpenCLIP; 512 or 768 pixels."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from pipelines.diffusion.base.families.sd15 import StableDiffusion15
from pipelines.diffusion.base.parts import single_file
from portrait.generation.options import Preset
from portrait.generation.sampling_facts import SamplingPreset

PRESETS: Mapping[Preset, SamplingPreset] = MappingProxyType(
    {
        "fast": SamplingPreset("dpm_2m_karras", 15, 5.0, 0.8),
        "balanced": SamplingPreset("dpm_2m_karras", 25, 5.0, 0.8),
        "best": SamplingPreset("euler", 40, 5.0, 1.0),
    }
)
"""Without an LCM LoRA in `fast`: none was published."""


class StableDiffusion2(StableDiffusion15):
    """The family of Stable Diffusion 2.0 and 2.1; its bases of 768 pixels predict velocity, as their scheduler says.

    Hub folders have the text encoder without its last layer, so that what comes last is the penultimate layer it was trained
    with; a single file has all layers, and the last is not loaded.
    """

    name = "sd2"
    # No annotation in the family above: `families` reads plain assignments alone.
    pipeline_names = ("StableDiffusionPipeline", "StableDiffusionInpaintPipeline")  # pyrefly: ignore[bad-override] -- one fewer
    text_width = 1024
    detection_key = "cond_stage_model.model.positional_embedding"
    architecture = "stable-diffusion-v2-768-v"
    kohya_version = "sd_v2"
    presets = PRESETS
    freeu_scales: Mapping[str, float] = MappingProxyType({"s1": 0.9, "s2": 0.2, "b1": 1.4, "b2": 1.6})

    def single_file_text_encoders(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """OpenCLIP under its own key names."""
        return single_file.open_clip_weights(components["text_encoder"], "cond_stage_model.model.")


FAMILY = StableDiffusion2()
