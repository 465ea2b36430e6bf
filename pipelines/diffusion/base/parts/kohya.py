"""LoRA weights under the key names of kohya's trainers, from those of diffusers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

DOWN, UP = ".lora_A.weight", ".lora_B.weight"
"""What the names of a module's factors end with in diffusers' files."""


@dataclass(frozen=True, slots=True)
class StackedName:
    """The name of a layer in other programs' files, which it may share with others whose results are stacked."""

    name: str
    place: int = 0
    """Of the layer's results among those that are stacked."""
    heights: tuple[int, ...] = (1,)
    """How many results each of the stacked layers has, in proportion."""

    def renamed(self, name: str) -> "StackedName":
        """The same place under another name."""
        return replace(self, name=name)


def factors_of(weights: Mapping[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Down and up by module."""
    modules = (name.removesuffix(DOWN) for name in weights if name.endswith(DOWN))
    return {module: (weights[module + DOWN], weights[module + UP]) for module in modules}


def module_weights(key: str, down: torch.Tensor, up: torch.Tensor) -> dict[str, torch.Tensor]:
    """The factors of a module under its name, with the rank as alpha."""
    return {
        f"{key}.lora_down.weight": down.contiguous(),
        f"{key}.lora_up.weight": up.contiguous(),
        f"{key}.alpha": torch.tensor(float(down.shape[0])),
    }


def rename(weights: Mapping[str, torch.Tensor], name_of: Callable[[str], str]) -> dict[str, torch.Tensor]:
    """All weights, where each module has a name of its own."""
    renamed: dict[str, torch.Tensor] = {}
    for module, (down, up) in factors_of(weights).items():
        renamed |= module_weights(name_of(module), down, up)
    return renamed


def rename_stacked(
    weights: Mapping[str, torch.Tensor], name_of: Callable[[str], StackedName | None]
) -> dict[str, torch.Tensor]:
    """All weights, where some layers are one in kohya's files: their first factors lie below each other, their second ones
    side by side in blocks.

    Layers of a stack that the LoRA leaves get zeros; modules for which `name_of` gives None are left out.
    """
    found: dict[str, dict[int, tuple[torch.Tensor, torch.Tensor]]] = {}
    heights: dict[str, tuple[int, ...]] = {}
    for module, factors in factors_of(weights).items():
        if (name := name_of(module)) is not None:
            found.setdefault(name.name, {})[name.place] = factors
            heights[name.name] = name.heights
    renamed: dict[str, torch.Tensor] = {}
    for name, parts in found.items():
        renamed |= module_weights(name, *_stack(parts, heights[name]))
    return renamed


def _stack(
    parts: Mapping[int, tuple[torch.Tensor, torch.Tensor]], heights: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The factors of layers by their places, as those of one layer."""
    place, (_, some) = next(iter(parts.items()))
    unit = some.shape[0] // heights[place]
    ups = [parts[at][1] if at in parts else some.new_zeros(unit * high, 0) for at, high in enumerate(heights)]
    return torch.cat([parts[at][0] for at in sorted(parts)]), torch.block_diag(*ups)
