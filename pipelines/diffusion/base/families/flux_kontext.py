"""FLUX.1 Kontext: draws words with one picture beside them, which it changes by them, or whose person it draws anew."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import PIL.Image
from diffusers import FluxKontextInpaintPipeline, FluxKontextPipeline
from diffusers.pipelines.flux import pipeline_flux_kontext

from pipelines.diffusion.base.families.shared.flux1 import Flux1Family
from pipelines.diffusion.base.family import Abilities, DrawingStart
from portrait.arrays import Size
from portrait.generation.options import Preset
from portrait.generation.parameters import Task
from portrait.generation.sampling_facts import SamplingPreset

PRESETS: Mapping[Preset, SamplingPreset] = MappingProxyType(
    {
        "fast": SamplingPreset("own", 20, 2.5, 1.0),
        "balanced": SamplingPreset("own", 28, 2.5, 1.0),
        "best": SamplingPreset("own", 50, 2.5, 1.0),
    }
)
"""Its makers draw with it in 28 steps at a guidance of 2.5."""


class FluxKontext(Flux1Family):
    """The family of FLUX.1 Kontext."""

    name = "flux_kontext"
    pipeline = FluxKontextPipeline
    pipeline_names = ("FluxKontextPipeline",)
    pipelines = MappingProxyType(
        {
            ("image", False, False): FluxKontextInpaintPipeline,
            ("inpaint", False, False): FluxKontextInpaintPipeline,
        }
    )
    architecture = "flux-1-kontext-dev"
    kohya_version = "flux_kontext"
    abilities = Abilities(references=1, instructions=True, sentences=True)
    presets = PRESETS

    def size_arguments(self, size: Size) -> dict[str, Any]:
        """The size as it is: the stock pipeline would draw a megapixel, and bring start pictures to sizes of its own."""
        return {**super().size_arguments(size), "max_area": size.width * size.height, "_auto_resize": False}

    def start_arguments(self, start: DrawingStart) -> dict[str, Any]:
        """With a mask, white all over without one: there is no pipeline for whole pictures."""
        white = PIL.Image.new("L", (start.size.width, start.size.height), 255)
        given = super().start_arguments(replace(start, mask=start.mask or white))
        return {**given, **self.size_arguments(start.size)}

    def reference_arguments(self, task: Task, pictures: Sequence[PIL.Image.Image]) -> dict[str, Any]:
        """The one picture, in that size of training which is most like it in shape; it has a name of its own beside a start."""
        if not pictures:
            return {}
        return {"image" if task == "text" else "image_reference": _trained_size(pictures[0])}


def _trained_size(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A picture in one of the sizes that Kontext was trained with."""
    shape = picture.width / picture.height
    sizes = pipeline_flux_kontext.PREFERRED_KONTEXT_RESOLUTIONS
    _, width, height = min((abs(shape - width / height), width, height) for width, height in sizes)
    return picture.resize((width, height), PIL.Image.Resampling.LANCZOS)


FAMILY = FluxKontext()
