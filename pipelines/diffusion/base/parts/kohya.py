"""LoRA weights under the key names of kohya's trainers, from those of diffusers."""

from collections.abc import Callable, Mapping

import torch

DOWN, UP = ".lora_A.weight", ".lora_B.weight"
"""What the names of a module's factors end with in diffusers' files."""


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
