"""Qwen-Image: a flow transformer that draws sentences and follows controls; Qwen2.5-VL reads its words; 1024 pixels."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from diffusers import (
    QwenImageControlNetModel,
    QwenImageControlNetPipeline,
    QwenImageImg2ImgPipeline,
    QwenImageInpaintPipeline,
    QwenImageMultiControlNetModel,
    QwenImagePipeline,
)

from pipelines.diffusion.base.families.shared.plain import windowed_controls
from pipelines.diffusion.base.families.shared.qwen import QwenFamily
from pipelines.diffusion.base.family import Abilities, ControlNetUnit
from pipelines.diffusion.base.parts import qwen_vl
from portrait.generation.parameters import Task


class QwenImage(QwenFamily):
    """The family of Qwen-Image."""

    name = "qwenimage"
    pipeline = QwenImagePipeline
    pipeline_names = ("QwenImagePipeline",)
    # The stock pipeline with controls and a mask is for a network that sees what is outside of the mask, and no control.
    pipelines = MappingProxyType(
        {
            ("text", True, False): QwenImageControlNetPipeline,
            ("image", False, False): QwenImageImg2ImgPipeline,
            ("inpaint", False, False): QwenImageInpaintPipeline,
        }
    )
    detection_key = "txt_norm.weight"
    architecture = "qwen-image"
    kohya_version = "qwen_image"
    abilities = Abilities(sentences=True, max_controls=4, control_windows=True)
    control_class = QwenImageControlNetModel

    def count_unread(self, components: Mapping[str, Any], prompt: str) -> int:
        """Those that Qwen2.5-VL does not read."""
        return qwen_vl.count_unread(components["tokenizer"], prompt)

    def join_controls(self, networks: Sequence[Any]) -> Any:
        """The one network that follows all kinds, once for each control."""
        return networks[0] if len(networks) == 1 else QwenImageMultiControlNetModel([networks[0]])

    def control_arguments(self, task: Task, units: Sequence[ControlNetUnit]) -> dict[str, Any]:
        """Images, scales and windows; the network tells a kind by its picture. Of one control they are no lists."""
        return windowed_controls(units)


FAMILY = QwenImage()
