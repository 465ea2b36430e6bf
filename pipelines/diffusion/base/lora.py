"""LoRA: adapters added to networks for training, and files under the key names of diffusers and of kohya's trainers.

Alpha is always the rank, so that a file means the same to every program, whether it reads alpha or not.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base.family import Family
from portrait.errors import UserError

ADAPTER = "person"
DOWN, UP = ".lora_A.weight", ".lora_B.weight"

Weights: TypeAlias = dict[str, torch.Tensor]
"""By name, `unet.….lora_A.weight`: what diffusers reads."""


def add_adapter(network: Any, rank: int, targets: Sequence[str], seed: int) -> None:
    """Add a trainable LoRA in float32 to a frozen network; its second factor is zero, so that nothing changes yet."""
    config = LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(targets))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.add_adapter(config, ADAPTER)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def trainable_parameters(network: Any, part: str) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """The factors of a network's LoRA with their key names in files."""
    # transformers no longer wraps CLIP in `text_model`; every published file still has it.
    inner = "text_model." if part.startswith("text_encoder") and not hasattr(network, "text_model") else ""
    for name, parameter in network.named_parameters():
        if f".{ADAPTER}." in name:
            yield f"{part}.{inner}{name.replace(f'.{ADAPTER}.', '.')}", parameter


def set_weights(networks: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
    """Copy weights into the LoRAs of networks; raises `UserError` (`wrong_base`) when they do not fit."""
    factors = dict(each for part, network in networks.items() for each in trainable_parameters(network, part))
    if {name: each.shape for name, each in factors.items()} != {name: each.shape for name, each in weights.items()}:
        raise UserError(
            "wrong_base",
            "The identity was learned on another base, or with another rank or other parts. Learn it anew.",
        )
    with torch.no_grad():
        for name, factor in factors.items():
            factor.copy_(weights[name])


def get_weights(networks: Mapping[str, Any]) -> Weights:
    """Copies of the weights of the networks' LoRAs, float32 on the CPU."""
    return {
        name: parameter.detach().to("cpu", torch.float32, copy=True).contiguous()
        for part, network in networks.items()
        for name, parameter in trainable_parameters(network, part)
    }


def rank_of(weights: Mapping[str, torch.Tensor]) -> int:
    """The rank of a LoRA; 0 of an empty one."""
    return next((int(weight.shape[0]) for name, weight in weights.items() if name.endswith(DOWN)), 0)


def save_weights(weights: Mapping[str, torch.Tensor], file: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write one `.safetensors`."""
    save_file(dict(weights), file, {"format": "pt", **(metadata or {})})
    return file


def load_weights(file: Path) -> Weights:
    """Read a LoRA file; raises `UserError` (`broken_identity`)."""
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError("broken_identity", f"{file.name} cannot be read as a LoRA. Learn the person again.") from error


def to_kohya(weights: Mapping[str, torch.Tensor], family: Family, config: Mapping[str, Any]) -> Weights:
    """Weights under the key names of kohya's trainers, which the web interfaces read; `config` is the U-Net's."""
    renamed: Weights = {}
    for name, weight in weights.items():
        if not name.endswith(DOWN):
            continue
        module = name.removesuffix(DOWN)
        key = family.kohya_module_name(module, config)
        renamed[f"{key}.lora_down.weight"] = weight.contiguous()
        renamed[f"{key}.lora_up.weight"] = weights[module + UP].contiguous()
        renamed[f"{key}.alpha"] = torch.tensor(float(weight.shape[0]))
    return renamed


def kohya_metadata(family: Family, rank: int, name: str, trigger: str) -> dict[str, str]:
    """The metadata of a file that the web interfaces show."""
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(float(rank)),
        "ss_base_model_version": family.kohya_version,
        "ss_output_name": name,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{family.architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": name,
        "modelspec.trigger_phrase": trigger,
    }
