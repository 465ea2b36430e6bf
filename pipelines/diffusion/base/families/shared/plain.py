"""PlainFamily: what most families have alike: no references, one guidance scale, networks that are used as they are loaded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL.Image

from pipelines.diffusion.base.family import Config, ControlNetUnit
from portrait.arrays import Size
from portrait.generation.parameters import Task
from portrait.generation.sampling_facts import SamplingFacts


class PlainFamily:
    """A family of which nothing special is said; each says what differs."""

    guided_above = 1.0
    reads_references = False
    control_class: type[Any] | None = None
    text_width = 0
    optional_components: Sequence[str] = ()
    redecoded_tasks: Sequence[Task] = ()

    def facts(self, index: Mapping[str, Any]) -> SamplingFacts:
        """None."""
        return SamplingFacts()

    def config_facts(self, config: Config) -> SamplingFacts:
        """None."""
        return SamplingFacts()

    def own_components(self, folder: Path) -> dict[str, Any]:
        """None."""
        return {}

    def count_unread(self, components: Mapping[str, Any], prompt: str) -> int:
        """None: it reads prompts of any length."""
        return 0

    def guidance_arguments(self, guidance: float) -> dict[str, Any]:
        """The scale."""
        return {"guidance_scale": guidance}

    def skip_layer_arguments(self, scale: float, config: Mapping[str, Any]) -> dict[str, Any]:
        """None: its stock pipelines do not know it."""
        return {}

    def perturbed_arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """None: the stock pipelines choose the layers."""
        return {}

    def prepare_control(self, name: str, network: Any, denoiser: Any) -> Any:
        """As it is."""
        return network

    def size_arguments(self, size: Size) -> dict[str, Any]:
        """Width and height."""
        return {"width": size.width, "height": size.height}

    def reference_arguments(self, task: Task, pictures: Sequence[PIL.Image.Image]) -> dict[str, Any]:
        """None: it draws from no references."""
        return {}


def windowed_controls(units: Sequence[ControlNetUnit], image: str = "control_image") -> dict[str, Any]:
    """Images, scales and shares of the steps of control networks; of a single one without lists, as stock pipelines expect.

    `image` is what the stock pipeline calls control images.
    """
    arguments: dict[str, list[Any]] = {
        image: [PIL.Image.fromarray(unit.image) for unit in units],
        "controlnet_conditioning_scale": [float(unit.scale) for unit in units],
        "control_guidance_start": [unit.start for unit in units],
        "control_guidance_end": [unit.end for unit in units],
    }
    return {name: each[0] for name, each in arguments.items()} if len(units) == 1 else dict(arguments)
