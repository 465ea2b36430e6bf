"""Qwen-Image-Edit (2509, 2511): Qwen-Image that draws from one to three pictures, which Qwen2.5-VL sees beside the words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import PIL.Image
from diffusers import QwenImageEditPlusPipeline

from pipelines.diffusion.base.families.shared.qwen import QwenFamily
from pipelines.diffusion.base.family import Abilities
from pipelines.diffusion.base.parts import qwen_vl
from portrait.errors import UserError
from portrait.generation.options import Preset
from portrait.generation.parameters import Task
from portrait.generation.sampling_facts import SamplingPreset

PRESETS: Mapping[Preset, SamplingPreset] = MappingProxyType(
    {
        "fast": SamplingPreset("own", 20, 4.0, 1.0),
        "balanced": SamplingPreset("own", 30, 4.0, 1.0),
        "best": SamplingPreset("own", 40, 4.0, 1.0),
    }
)
"""Its makers draw in 40 steps at a guidance of 4."""


class QwenImageEdit(QwenFamily):
    """The family of Qwen-Image-Edit."""

    name = "qwenimage_edit"
    pipeline = QwenImageEditPlusPipeline
    pipeline_names = ("QwenImageEditPlusPipeline",)
    # The stock pipeline that draws into a part of a picture is of the first Qwen-Image-Edit: it words what it shows another
    # way, takes no further pictures, and draws in a size of its own.
    pipelines = MappingProxyType({})
    detection_key = "txt_norm.weight"
    architecture = "qwen-image-edit"
    kohya_version = "qwen_image_edit"
    abilities = Abilities(references=3, instructions=True, sentences=True)
    presets = PRESETS
    reads_references = True

    def own_components(self, folder: Path) -> dict[str, Any]:
        """The processor of words with pictures, without its half for videos."""
        return {"processor": qwen_vl.load_processor(folder / "processor")}

    def reference_arguments(self, task: Task, pictures: Sequence[PIL.Image.Image]) -> dict[str, Any]:
        """The pictures; raises `UserError` (`bad_technique`) without any."""
        if not pictures:
            raise UserError(
                "bad_technique",
                "This base draws from pictures: show who by reference photos, or choose another base for words alone.",
            )
        return {"image": list(pictures)}


FAMILY = QwenImageEdit()
