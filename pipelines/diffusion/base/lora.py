"""LoRA: adapters added to networks for training, and files under the key names of diffusers and of kohya's trainers.

Alpha is always the rank, so that a file means the same to every program, whether it reads alpha or not.
"""

import re
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
DOWN, UP, ALPHA = ".lora_A.weight", ".lora_B.weight", ".alpha"
NETWORKS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
"""What a module's name in a file begins with, on bases of this program's families and others."""
TEXT_MODEL = "text_model."
"""What every published file has before the modules of a text encoder. transformers no longer wraps all of them in it."""
OTHER_METHODS = {
    "hada_": "a LoHa",
    "lokr_": "a LoKr",
    "oft_": "an OFT",
    "lora_mid": "a LoRA with a third factor",
    "dora_scale": "a DoRA",
    "lora_magnitude_vector": "a DoRA",
}
"""By a part of key names: what is no plain LoRA."""
OTHER_NAMES = {
    r"^lora_|\.lora_(down|up)\.": "kohya's trainers",
    r"^base_model\.|\.lora_[AB]\.(?!weight$)": "PEFT",
    r"\.lora\.(down|up)\.|_lora\.(down|up)\.": "an earlier diffusers",
}
"""By a pattern of key names: the programs that write them so."""

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
    inner = TEXT_MODEL if part.startswith("text_encoder") and not hasattr(network, "text_model") else ""
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
    """The largest rank of a LoRA's modules; 0 of an empty one."""
    return max((int(weight.shape[0]) for name, weight in weights.items() if name.endswith(DOWN)), default=0)


def save_weights(weights: Mapping[str, torch.Tensor], file: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write one `.safetensors`."""
    save_file(dict(weights), file, {"format": "pt", **(metadata or {})})
    return file


def load_weights(file: Path) -> Weights:
    """Read a LoRA file: pairs of factors in float32, with alpha multiplied into the second.

    Raises `UserError` (`broken_identity`), which says why it is none that can be drawn or learned with.
    """
    try:
        stored = load_file(file)
    except (OSError, SafetensorError) as error:
        raise broken_lora(file, "it cannot be read") from error
    for reason in (_other_kind(stored), _bad_names(stored), _bad_values(stored)):
        if reason:
            raise broken_lora(file, reason)
    weights = {name: each.float() for name, each in stored.items() if not name.endswith(ALPHA)}
    for name, alpha in stored.items():
        if name.endswith(ALPHA):
            module = name.removesuffix(ALPHA)
            weights[module + UP] *= float(alpha) / weights[module + DOWN].shape[0]
    return weights


def broken_lora(file: Path, reason: str) -> UserError:
    """The error of a file that is no LoRA as this program writes it."""
    return UserError("broken_identity", f"{file.name} cannot be used as a person's LoRA: {reason}. Learn them again.")


def _other_kind(stored: Mapping[str, torch.Tensor]) -> str:
    """Why a file is another thing than a LoRA in diffusers' names; empty where it is one."""
    for name in stored:
        method = next((method for part, method in OTHER_METHODS.items() if part in name), None)
        if method is not None:
            return f"it is {method}, and only plain LoRA is read"
    for name in stored:
        program = next((program for pattern, program in OTHER_NAMES.items() if re.search(pattern, name)), None)
        if program is not None:
            return f"its names are those of {program} ({name!r}), and the names of diffusers are read"
    return ""


def _bad_names(stored: Mapping[str, torch.Tensor]) -> str:
    """What is wrong with the names and shapes of a file's factors; empty where nothing is."""
    modules = {name.removesuffix(end) for name in stored for end in (DOWN, UP) if name.endswith(end)}
    expected = {module + end for module in modules for end in (DOWN, UP, ALPHA)}
    unexpected = min((name for name in stored if name not in expected), default=None)
    if unexpected is not None:
        return f"it holds {unexpected!r}, which is no part of a LoRA"
    if not modules or not {module + end for module in modules for end in (DOWN, UP)} <= stored.keys():
        return "factors are missing"
    for module in sorted(modules):
        if module.partition(".")[0] not in NETWORKS:
            return f"the name {module!r} does not say of which network it is"
        down, up = stored[module + DOWN], stored[module + UP]
        if 4 in (down.ndim, up.ndim):
            return f"it changes convolutions ({module}; a LoCon), and only attention is read"
        fits = down.ndim == up.ndim == 2 and 0 < down.shape[0] == up.shape[1]
        if not fits or stored.get(module + ALPHA, torch.ones(1)).numel() != 1:
            return f"the factors of {module} do not fit each other"
    return ""


def _bad_values(stored: Mapping[str, torch.Tensor]) -> str:
    """What is wrong with the numbers of a file; empty where nothing is."""
    for name, each in stored.items():
        if not each.is_floating_point():
            return f"{name} holds {str(each.dtype).removeprefix('torch.')} numbers, which are no weights"
        if not torch.isfinite(each.float()).all():
            return f"{name} holds values that are not numbers or infinite"
    return ""


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
