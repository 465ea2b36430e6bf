"""FLUX.1 [dev] and [schnell]: a flow transformer; T5 and CLIP read its words; 1024 pixels.

[dev] is told the guidance scale, so that there is no negative prompt; [schnell] draws in four steps without guidance.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import PIL.Image
from diffusers import (
    FluxControlNetImg2ImgPipeline,
    FluxControlNetInpaintPipeline,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxPipeline,
)
from diffusers.models.controlnets.controlnet_flux import FluxMultiControlNetModel

from pipelines.diffusion.base.families.shared.flux1 import Flux1Family
from pipelines.diffusion.base.family import Abilities, ControlNetUnit
from portrait.generation.options import Preset
from portrait.generation.parameters import Task
from portrait.generation.sampling_facts import SamplingPreset

PRESETS: Mapping[Preset, SamplingPreset] = MappingProxyType(
    {
        "fast": SamplingPreset("own", 20, 3.5, 1.0),
        "balanced": SamplingPreset("own", 28, 3.5, 1.0),
        "best": SamplingPreset("own", 50, 3.5, 1.0),
    }
)
"""Of [dev], which its makers draw with in 50 steps at a guidance of 3.5."""
CONTROL_MODES: Mapping[str, int] = MappingProxyType({"canny": 0, "tile": 1, "depth": 2, "pose": 4})
"""What a network of several controls calls each (InstantX and Shakker Labs)."""


class Flux(Flux1Family):
    """The family of FLUX.1."""

    name = "flux"
    pipeline = FluxPipeline
    pipeline_names = ("FluxPipeline",)
    pipelines = MappingProxyType(
        {
            ("image", False, False): FluxImg2ImgPipeline,
            ("inpaint", False, False): FluxInpaintPipeline,
            ("text", True, False): FluxControlNetPipeline,
            ("image", True, False): FluxControlNetImg2ImgPipeline,
            ("inpaint", True, False): FluxControlNetInpaintPipeline,
        }
    )
    architecture = "flux-1-dev"
    kohya_version = "flux1"
    abilities = Abilities(sentences=True, max_controls=4, control_windows=True)
    presets = PRESETS
    control_class = FluxControlNetModel

    def join_controls(self, networks: Sequence[Any]) -> Any:
        """Networks in a row; one that follows several controls is there once and acts for each."""
        return FluxMultiControlNetModel(list(dict.fromkeys(networks)))

    def control_arguments(self, task: Task, units: Sequence[ControlNetUnit]) -> dict[str, Any]:
        """Images, scales, shares of the steps, and what a network of several controls calls each."""
        return {
            "control_image": [PIL.Image.fromarray(unit.image) for unit in units],
            "control_mode": [_mode(unit) for unit in units],
            "controlnet_conditioning_scale": [float(unit.scale) for unit in units],
            "control_guidance_start": [unit.start for unit in units],
            "control_guidance_end": [unit.end for unit in units],
        }


def _mode(unit: ControlNetUnit) -> int | None:
    """The number of a control to its network; None for a network that tells them apart by their looks."""
    return CONTROL_MODES.get(unit.kind) if unit.network.config["num_mode"] else None


FAMILY = Flux()
